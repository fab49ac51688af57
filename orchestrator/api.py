"""Jackpot from Python: run a sweep, read its results, load or export a ticket."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.engine.finding import folder_at
from orchestrator.engine.folder import SweepFolder
from orchestrator.spec.models import Spec

if TYPE_CHECKING:
    import pandas as pd

    from orchestrator.engine.ticket import LoadedTicket
    from orchestrator.spec.loading import Loaded
    from orchestrator.sweep.outcome import Outcome


def folder_for(spec: Spec, out: str | os.PathLike | None = None) -> SweepFolder:
    """The sweep's folder: `out`, or its name under the spec's storage (default ./sweeps); a path or an address such as
    s3://BUCKET/sweeps/NAME. Raises FolderError for an address that no sweep can lie at."""
    return folder_at(out or f"{spec.storage or 'sweeps'}".rstrip("/") + f"/{spec.name}")


def run(
    spec: str | os.PathLike | Mapping[str, Any] | Spec,
    *,
    out: str | os.PathLike | None = None,
    overrides: Sequence[str] = (),
    **options: Any,
) -> Outcome:
    """Run or resume a sweep: a spec's path, the name of one that comes with Jackpot, a dict or a Spec.
    `options`: `only`, one method to run; `hours`, after which to stop; `address` of a Ray cluster; `console`, a
    rich Console to show progress on; `take_over`, where the machine that drove a sweep in an object store is gone.
    Raises SpecError with all that is wrong with the spec, FolderError where its folder cannot be used, ClusterError
    where the cluster cannot."""
    from orchestrator.report.page import write_report
    from orchestrator.report.summary import write_summary
    from orchestrator.report.sweeps import read
    from orchestrator.spec.loading import load
    from orchestrator.spec.problems import SpecError
    from orchestrator.sweep.run import run_sweep

    loaded = load(spec, overrides)
    if lines := faults(loaded):
        raise SpecError(lines)
    spec = loaded.require()
    return run_sweep(
        spec, folder_for(spec, out),
        describe=lambda folder: write_summary(read(folder)), report=lambda folder: write_report([folder]), **options,
    )  # fmt: skip


def faults(loaded: Loaded) -> list[str]:
    """All that is wrong with a spec, one line each: its shape, data, networks, methods and tracking."""
    from orchestrator.engine.check import check
    from orchestrator.spec.problems import Problem
    from orchestrator.tracking import uri_of

    problems = check(loaded)
    if loaded.spec is not None and loaded.spec.search is not None and not problems:
        from orchestrator.sweep.checking import check_search

        problems = check_search(loaded.spec)
    if "tracking" in loaded.parts and loaded.parts["tracking"].enabled:
        try:
            uri_of(Path(), loaded.parts["tracking"])
        except ValueError as error:
            problems.append(Problem(("tracking", "uri"), str(error).removeprefix("tracking.uri: ")))
    return loaded.report(problems)


def results(sweep: str | os.PathLike) -> pd.DataFrame:
    """The results of a sweep, a row a trial: of its folder, or of the one of that name in ./sweeps. Raises
    FolderError where no sweep lies there."""
    from orchestrator.engine.finding import find_sweep
    from orchestrator.engine.results import results as read

    return read(find_sweep(sweep))


def load_ticket(path: str | os.PathLike, allow_code: bool = False) -> LoadedTicket:
    """Read a trial's ticket.safetensors (or a trial's folder that holds one). `allow_code`: its `network()` may be a
    `module:factory`, which is imported then. Raises FileNotFoundError, or
    TicketError (a ValueError) for a file that is no ticket or is damaged."""
    from orchestrator.engine.ticket import FILE, read_ticket

    return read_ticket(Path(path) / FILE if Path(path).is_dir() else Path(path), allow_code)


def export(trial: str | os.PathLike, file: str | os.PathLike, **options: Any) -> Path:
    """Write a trial's trained ticket into `file`, for programs without Jackpot: .safetensors, .onnx or .pt2
    (torch.export). `trial`: its folder, SWEEP/TRIAL, the id of one in ./sweeps, or a ticket's file. `options`:
    `format` ("onnx"), where the file's suffix does not say it; `with_normalisation`, for a program that takes uint8
    pixels; `force`, to replace the file; `allow_code`, where the network is a `module:factory`. Raises FolderError
    where there is no such trial, TicketError where it has no ticket that can be used, ExportError where the file
    cannot be written."""
    from orchestrator.engine.export import export_trial

    return export_trial(trial, file, **options).path
