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

EXAMPLES = "Example: jackpot doctor"

PACKAGES = (
    "ray",
    "torch",
    "torchvision",
    "optuna",
    "mlflow",
    "pydantic",
    "safetensors",
    "onnx",
    "onnxscript",
    "plotly",
    "scikit-learn",
    "scipy",
)


def command(json: Annotated[bool, typer.Option("--json", help="Say it as JSON.")] = False) -> None:
    """Say what this machine has: processor, memory, GPUs, versions, plugins, and what is missing."""
    from methods import registry
    from orchestrator.engine.data.cache import cache_folder
    from orchestrator.engine.files import size

    versions, missing = {}, []
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            missing.append(f"{package} is not installed; run `pip install jackpot-tickets`")
    missing += [f"plugin {plugin} is left out: {reason}" for plugin, reason in registry.broken().items()]
    gpus = _gpus(missing)
    found = {
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "free_disk_gib": round(shutil.disk_usage(Path.cwd()).free / 2**30, 1),
        "image_cache": f"{cache_folder()}, {size(cache_folder()) / 2**30:.2f} GiB; may be removed while nothing runs",
        "gpus": gpus,
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
