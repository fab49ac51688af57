"""What several verbs share: reading a spec, finding a sweep, saying what is wrong."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.engine.folder import SweepFolder
    from orchestrator.spec.loading import Loaded
    from orchestrator.spec.models import Spec

PIPE_COLUMNS = 200


def wrong(*lines: str) -> NoReturn:
    """Say what is wrong with the request and exit with 2."""
    for line in lines:
        print(line, file=sys.stderr)
    raise typer.Exit(2)


Where = Annotated[
    str | None,
    typer.Option(
        "--tracking",
        metavar="URI",
        help="The MLflow server or database, without a password (default: the spec's tracking.uri, else "
        "MLFLOW_TRACKING_URI, else mlflow.db in the sweep's folder).",
    ),
]
"""The option `--tracking`."""


@contextmanager
def said() -> Iterator[None]:
    """Turn the errors that are the request's own fault into their message and exit code 2."""
    from orchestrator.engine.files import TAKES_NOTHING
    from orchestrator.engine.folder import FolderError
    from orchestrator.engine.remote import RemoteError
    from orchestrator.spec.problems import SpecError
    from orchestrator.sweep.session import ClusterError

    try:
        yield
    except SpecError as error:
        wrong(*error.lines)
    except (FolderError, ClusterError) as error:
        wrong(str(error))
    except RemoteError as error:
        wrong(f"{error.filename}: {error.strerror}")
    except OSError as error:
        if error.errno not in TAKES_NOTHING:
            raise
        wrong(f"{error.filename or 'the sweep'}: {error.strerror}; free space, then run the same command again")


@contextmanager
def told_of_data() -> Iterator[None]:
    """Say on stderr what takes long when a data set is used for the first time, such as decoding its images."""
    log, handler = logging.getLogger("orchestrator.engine.data"), logging.StreamHandler()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def load_checked(source: str, overrides: Sequence[str]) -> Loaded:
    """A spec without problems, nets, data and methods included; otherwise says all that is wrong and exits."""
    from orchestrator.api import faults
    from orchestrator.spec.loading import load

    loaded = load(source, overrides)
    with told_of_data():
        lines = faults(loaded)
    if lines:
        count = f"{len(lines)} problem{'s' if len(lines) > 1 else ''}"
        wrong(*lines, f"{source}: {count}; nothing was run")
    return loaded


def open_sweep(sweep: str) -> SweepFolder:
    """The folder of a sweep, given as a path, as the name of one in ./sweeps, or as an address."""
    from orchestrator.engine.finding import find_sweep

    with said():
        return find_sweep(sweep)


def find_trial(trial: str) -> tuple[SweepFolder, str]:
    """A trial, given as its folder, as SWEEP/TRIAL, or as the id of one in ./sweeps."""
    from orchestrator.engine import finding

    with said():
        return finding.find_trial(trial)


def tracked_at(uri: str | None) -> list[str]:
    """The override of a spec that `--tracking URI` is."""
    return [] if uri is None else [f"tracking.uri={json.dumps(uri)}"]


def load_tracked(folder: SweepFolder, uri: str | None) -> Spec:
    """The spec of a sweep, with the address of `--tracking` if one was given."""
    from orchestrator.spec.loading import load

    return load(folder.path / "spec.yaml", tracked_at(uri)).require()


def print_json(value: Any) -> None:
    """Print a value as JSON, for programs."""
    print(json.dumps(value, indent=2))


def terminal() -> Console:
    """Where tables go. A pipe has no width: there they are as wide as they need, not the 80 columns that rich takes."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_COLUMNS)
