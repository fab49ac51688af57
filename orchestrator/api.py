"""Jackpot from Python: run a sweep, read its results, load a ticket."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.engine.folder import FolderError, SweepFolder
from orchestrator.spec.models import Spec

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from orchestrator.spec.loading import Loaded
    from orchestrator.sweep.outcome import Outcome


def folder_for(spec: Spec, out: str | os.PathLike | None = None) -> SweepFolder:
    """The sweep's folder: `out`, or its name under the spec's storage (default ./sweeps). Raises FolderError for an
    address such as s3://..."""
    if out and "://" in str(out):
        raise FolderError(f"--out {out}: is an address; a sweep's folder lies on a file system")
    chosen = Path(out) if out else Path(spec.storage or "sweeps") / spec.name
    return SweepFolder(chosen.expanduser())


def run(
    spec: str | os.PathLike | Mapping[str, Any] | Spec,
    *,
    out: str | os.PathLike | None = None,
    overrides: Sequence[str] = (),
    **options: Any,
) -> Outcome:
    """Run or resume a sweep: a spec's path, the name of one that comes with Jackpot, a dict or a Spec.
    `options`: `only`, one method to run; `hours`, after which to stop; `address` of a Ray cluster; `console`, a
    rich Console to show progress on. Raises SpecError with all that is wrong with the spec, FolderError where its
    folder cannot be used, ClusterError where the cluster cannot."""
    from orchestrator.spec.loading import load
    from orchestrator.spec.problems import SpecError
    from orchestrator.sweep.run import run_sweep

    loaded = load(spec, overrides)
    if lines := faults(loaded):
        raise SpecError(lines)
    return run_sweep(loaded.require(), folder_for(loaded.require(), out), **options)


def faults(loaded: Loaded) -> list[str]:
    """All that is wrong with a spec, one line each: its shape, data, networks, methods and tracking."""
    from orchestrator.engine.check import check
    from orchestrator.spec.problems import Problem
    from orchestrator.tracking import uri_of

    problems = check(loaded)
    if "tracking" in loaded.parts and loaded.parts["tracking"].enabled:
        try:
            uri_of(Path(), loaded.parts["tracking"])
        except ValueError as error:
            problems.append(Problem(("tracking", "uri"), str(error).removeprefix("tracking.uri: ")))
    return loaded.report(problems)


def results(sweep: str | os.PathLike) -> pd.DataFrame:
    """The results of a sweep, a row a trial: of its folder, or of the one of that name in ./sweeps. Raises
    FolderError where no sweep lies there."""
    from orchestrator.engine.folder import find_sweep
    from orchestrator.engine.results import results as read

    return read(find_sweep(sweep))


@dataclass(frozen=True)
class LoadedTicket:
    """A ticket read from its file."""

    masks: dict[str, torch.Tensor] = field(repr=False)
    """Layer -> bool mask, True is kept."""
    start: dict[str, torch.Tensor] = field(repr=False)
    """State dict that the ticket is trained from."""
    weights: dict[str, torch.Tensor] = field(repr=False)
    """State dict of the trained ticket."""
    provenance: dict[str, str]
    """Trial, network, method, sparsity, seed, and the hashes of the stages that made it."""


def load_ticket(path: str | os.PathLike) -> LoadedTicket:
    """Read a trial's ticket.safetensors (or a trial's folder that holds one). Raises FileNotFoundError, or
    ValueError for a file that is no ticket."""
    from safetensors import SafetensorError, safe_open

    file = Path(path) / "ticket.safetensors" if Path(path).is_dir() else Path(path)
    if not file.exists():
        raise FileNotFoundError(f"{file}: no ticket here; a trial that is done keeps it as ticket.safetensors")
    parts: dict[str, dict[str, torch.Tensor]] = {"mask": {}, "start": {}, "weight": {}}
    try:
        with safe_open(file, framework="pt") as tensors:
            provenance = tensors.metadata() or {}
            if provenance.get("format") != "jackpot-ticket-1":
                raise ValueError(f"{file}: not a Jackpot ticket")
            for name in tensors.keys():  # noqa: SIM118  not a dict
                part, _, key = name.partition("/")
                parts[part][key] = tensors.get_tensor(name)
    except SafetensorError as error:
        raise ValueError(f"{file}: not a safetensors file ({error})") from error
    return LoadedTicket(parts["mask"], parts["start"], parts["weight"], provenance)
