"""Where MLflow compares given trials: looked up, with nothing written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from orchestrator.engine.folder import address_of
from orchestrator.spec.models import Tracking
from orchestrator.tracking import client as clients
from orchestrator.tracking.links import MOST, compare_path
from orchestrator.tracking.runs import Runs
from orchestrator.tracking.ui import FIRST_PORT
from orchestrator.tracking.where import TrackingError, identity_of, is_server, reachable, reason, uri_of


class Asked(NamedTuple):
    """Trials of one sweep, and where its runs are kept."""

    folder: Path
    tracking: Tracking
    trials: Sequence[str]


class Comparison(NamedTuple):
    """An address of MLflow's pages, and whether it is a tracking server's, so that it can be opened now; else
    `jackpot ui` serves it, on its first port unless that is taken."""

    address: str
    served: bool


def comparison(asked: Sequence[Asked]) -> Comparison:
    """MLflow's page that compares the runs of all these trials. Raises TrackingError where there is none: runs in
    several databases, not written yet, or not to be had now."""
    try:
        uris = {uri_of(sweep.folder, sweep.tracking) for sweep in asked}
        if len(uris) > 1:
            raise TrackingError("these sweeps keep their runs in different databases, and MLflow compares within one")
        if sum(len(sweep.trials) for sweep in asked) > MOST:
            raise TrackingError(f"more than {MOST} runs are too many for its page")
        (uri,) = uris
        _there(uri, asked[0].folder)
        runs, experiments = _find(uri, asked)
    except TrackingError:
        raise
    except Exception as error:  # whatever MLflow and the network raise
        raise TrackingError(reason(error)) from error
    base = uri.rstrip("/") if is_server(uri) else f"http://127.0.0.1:{FIRST_PORT}"
    return Comparison(f"{base}/#{compare_path(runs, experiments)}", is_server(uri))


def _there(uri: str, folder: Path) -> None:
    """See that there is something to ask: MLflow would make a database that is not there."""
    reachable(uri)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise TrackingError(f"no runs are written yet; `jackpot sync {address_of(folder)}` does it")


def _find(uri: str, asked: Sequence[Asked]) -> tuple[list[str], list[str]]:
    """The ids of the trials' runs, in their order, and of the experiments that they are in."""
    client = clients.connect(uri)
    found: list[str] = []
    experiments: dict[str, None] = {}
    for sweep in asked:
        experiment = client.get_experiment_by_name(sweep.tracking.experiment)
        identity = identity_of(sweep.folder)
        own: Mapping[str, str] = {}
        if experiment is not None and identity is not None:
            runs = Runs(client, experiment.experiment_id, identity, sweep.folder.name)
            own = {trial: run.info.run_id for trial in sweep.trials for run in runs.search("trial", trial=trial)}
            experiments[experiment.experiment_id] = None
        if missing := [trial for trial in sweep.trials if trial not in own]:
            raise TrackingError(
                f"it has no run of {missing[0]} yet; `jackpot sync {address_of(sweep.folder)}` writes it"
            )
        found += [own[trial] for trial in sweep.trials]
    return found, list(experiments)
