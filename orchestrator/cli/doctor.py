"""jackpot doctor: what this machine has."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.common import print_json

EXAMPLES = "Examples: jackpot doctor | jackpot doctor --address head-node:6379 | jackpot doctor --address http://head-node:8265"

PACKAGES = (
    "ray",
    "torch",
    "torchvision",
    "optuna",
    "mlflow",
    "pydantic",
    "safetensors",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "plotly",
    "scikit-learn",
    "scipy",
)


def command(
    json: Annotated[bool, typer.Option("--json", help="Say it as JSON.")] = False,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Also say whether the Ray head at HOST:PORT, or dashboard at http://HOST:PORT, asks for a token.",
        ),
    ] = None,
) -> None:
    """Say what this machine has: processor, memory, GPUs, versions, plugins, Ray's token, and what is missing."""
    from methods import registry
    from orchestrator.engine.data.cache import cache_folder
    from orchestrator.engine.files import size
    from orchestrator.sweep import tokens

    versions, missing = {}, []
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            missing.append(f"{package} is not installed; run `pip install jackpot-tickets`")
    missing += [f"plugin {plugin} is left out: {reason}" for plugin, reason in registry.broken().items()]
    gpus = _gpus(missing)
    token, wrong = tokens.own_state()
    missing += [wrong] if wrong else []
    found: dict[str, object] = {
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "free_disk_gib": round(shutil.disk_usage(Path.cwd()).free / 2**30, 1),
        "image_cache": f"{cache_folder()}, {size(cache_folder()) / 2**30:.2f} GiB; may be removed while nothing runs",
        "gpus": gpus,
        "ray_token": token,
        **({"cluster": _cluster(address, missing)} if address else {}),
        "versions": versions,
        "methods": registry.names(),
        "missing": missing,
    }
    if json:
        print_json(found)
    else:
        for key, value in found.items():
            if isinstance(value, dict):
                value = ", ".join(f"{name} {version}" for name, version in value.items())
            elif isinstance(value, list):
                value = ", ".join(map(str, value)) or "none"
            print(f"{key:<14} {value}")
    raise typer.Exit(1 if missing else 0)


def _cluster(address: str, missing: list[str]) -> str:
    """Whether a running cluster asks for a token, and takes the one of this machine."""
    from orchestrator.sweep import tokens

    try:
        if tokens.admits(address, ""):
            missing.append(
                f"{address} obeys whoever reaches it, for it asks for no token; run `ray get-auth-token --generate` on "
                "its head, copy ~/.ray/auth_token to every node, and start Ray there with RAY_AUTH_MODE=token"
            )
            return "asks for no token"
        if not tokens.token():
            missing.append(f"{address} asks for a token, and there is none here; set RAY_AUTH_TOKEN")
        elif not tokens.admits(address, tokens.token()):
            missing.append(
                f"{address} refuses the token of this machine; `ray get-auth-token` says the right one there"
            )
    except tokens.NoAnswer as error:
        missing.append(f"{address}: {error}")
        return "does not answer"
    return "asks for a token"


def _gpus(missing: list[str]) -> list[str]:
    import torch

    if torch.cuda.is_available():
        return [
            f"{torch.cuda.get_device_name(i)} ({torch.cuda.get_device_properties(i).total_memory / 2**30:.0f} GiB)"
            for i in range(torch.cuda.device_count())
        ]
    if shutil.which("nvidia-smi"):
        missing.append("there is an NVIDIA driver, but torch cannot use the GPU; does its CUDA version fit?")
    return []
