"""The winning tickets as models of MLflow's registry: programs that need neither Jackpot nor the network's source."""

from __future__ import annotations

import contextlib
import re
import tempfile
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from orchestrator.engine.files import file_digest
from orchestrator.spec.code import is_code
from orchestrator.tracking.runs import Runs

_TICKET = "jackpot.ticket"
"""On a version: the ticket's file that it was made from."""
_OWNER = "jackpot.id"
"""On a registered model: the sweep whose winners it holds."""
_EXAMPLES = 2  # more than one, or the program would be made for one image


def register(
    client: Any, runs: Runs, folder: Path, winner: Mapping[str, Any], several_networks: bool, code: Collection[str] = ()
) -> bool:
    """Register a winner's ticket as the newest version of the sweep's model, under an alias that says its sparsity
    ("s95"), unless it is there. Returns whether it was registered. It takes uint8 pixels (N, C, H, W) and gives logits
    (N, classes). `winner`: a row of winners.json; `code`: the `module:factory` of networks that may be built.

    Raises TicketError where the ticket cannot be read or its network not be built, and whatever MLflow raises."""
    from orchestrator.engine.ticket import read_ticket

    file = folder / "trials" / winner["trial"] / "ticket.safetensors"
    content = file_digest(file)
    name, alias = _model(client, runs), _alias(winner, several_networks)
    there = _version(client, name, alias)
    if there is not None and there.tags.get(_TICKET) == content:
        return False
    network = str(read_ticket(file).structure["network"]["name"])
    if is_code(network) and network not in code:
        return False  # `jackpot run` does it, where the spec names it
    (run,) = runs.search("trial", trial=winner["trial"])[:1] or [None]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model"
        classes = save(file, path, allow_code=True)
        logged = _log(client, runs, run, winner, path)
    version = client.create_model_version(
        name, logged.artifact_location, run_id=run.info.run_id if run else None, model_id=logged.model_id,
        tags={_TICKET: content, **_facts(winner), "classes": ", ".join(classes)[:5000]}, description=winner["said"],
    )  # fmt: skip
    client.set_registered_model_alias(name, alias, version.version)
    return True


def save(ticket_file: Path, path: Path, allow_code: bool = False) -> list[str]:
    """Save a ticket's trained network as a model of MLflow's (a torch.export program, with signature and input
    example) in a folder that is not there yet; the names of its classes."""
    import mlflow
    import numpy as np
    import torch
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    from orchestrator.engine.export.program import FromPixels
    from orchestrator.engine.export.trial import warn_of_changed_source, with_zeros_removed
    from orchestrator.engine.seeds import generator
    from orchestrator.engine.ticket import read_ticket

    ticket = with_zeros_removed(read_ticket(ticket_file, allow_code))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a model of another source than the trial's may give other logits
        warn_of_changed_source(ticket)
    given, classes = ticket.structure["input"], ticket.structure["classes"]
    net = FromPixels(ticket.network(), given["mean"], given["std"]).eval()
    shape = (_EXAMPLES, *given["shape"])
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(0, "input example")).numpy()
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype(np.uint8), (-1, *given["shape"]))]),
        Schema([TensorSpec(np.dtype(np.float32), (-1, len(classes)))]),
    )
    versions = [f"mlflow=={mlflow.__version__}", f"torch=={torch.__version__.split('+')[0]}"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pytorch.save_model(
            net, str(path), signature=signature, input_example=pixels, pip_requirements=versions,
            serialization_format="pt2", metadata={"provenance": ticket.provenance},
        )  # fmt: skip
    return [str(name) for name in classes]


def _log(client: Any, runs: Runs, run: Any, winner: Mapping[str, Any], path: Path) -> Any:
    """The saved model as a logged model of the trial's run."""
    from mlflow.entities import LoggedModelOutput

    name = re.sub(r"[/:.%\"']", "-", f"{winner['label']} s{100 * winner['sparsity']:.10g}")
    source = run.info.run_id if run else None
    logged = client.create_logged_model(runs.experiment, name, source, _facts(winner), model_type="pruned network")
    client.log_model_artifacts(logged.model_id, str(path))
    client.finalize_logged_model(logged.model_id, "READY")
    if run:
        client.log_outputs(source, [LoggedModelOutput(logged.model_id, 0)])
    return logged


def _facts(winner: Mapping[str, Any]) -> dict[str, str]:
    names = ("trial", "label", "model", "sparsity", "seed", "accuracy/test")
    return {name: str(winner[name]) for name in names}


def _model(client: Any, runs: Runs) -> str:
    """The sweep's registered model, made if need be. Of sweeps of one name the later ones' bear their identity."""
    from mlflow.exceptions import MlflowException

    plain = re.sub(r"[/:]", "-", runs.sweep)
    for name in (plain, f"{plain}-{runs.identity[:8]}"):
        with contextlib.suppress(MlflowException):  # there is one
            client.create_registered_model(name, tags={_OWNER: runs.identity})
        if client.get_registered_model(name).tags.get(_OWNER) == runs.identity:
            return name
    raise ValueError(f"the registered models {plain!r} and {name!r} are another sweep's; rename one of them in MLflow")


def _alias(winner: Mapping[str, Any], several_networks: bool) -> str:
    """MLflow takes letters, digits, dashes and underscores."""
    network = f"{winner['model']}-" if several_networks else ""
    return re.sub(r"[^A-Za-z0-9_-]", "_", f"{network}s{100 * winner['sparsity']:.10g}")


def _version(client: Any, name: str, alias: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException:  # no such alias yet
        return None
