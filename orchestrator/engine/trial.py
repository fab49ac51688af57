"""One trial from plan to result, on one worker."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
import socket
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from orchestrator.engine.bench import TrialBench
from orchestrator.engine.chain import Chain, follow
from orchestrator.engine.concealing import concealed
from orchestrator.engine.files import write_sealed
from orchestrator.engine.folder import SCHEMA, SweepFolder
from orchestrator.engine.metrics import costs, measured
from orchestrator.engine.plan import plan_trial
from orchestrator.engine.results import FINAL
from orchestrator.engine.setting import Setting
from orchestrator.engine.ticket import FILE, LoadedTicket, provenance, structure, write_ticket
from orchestrator.engine.train import Diverged, weights_of
from orchestrator.engine.trials import Trial, model_label
from orchestrator.engine.watch import Blocked, Stopped, Watch, unwritable

log = logging.getLogger(__name__)


def run_trial(
    sweep: SweepFolder,
    setting: Setting,
    trial: Trial,
    plan_key: str,
    watch: Watch,
    attempt: int = 1,
    rungs: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Run a trial in the sweep's folder and write its result: done, diverged, failed or blocked. Returns the
    result. Raises Stopped, leaving no result, where the watch stops it. `rungs`: what it was worth on its way."""
    result = blank_result(setting, trial, plan_key, attempt) | {"rungs": list(rungs)}
    bench = None
    try:
        bench = TrialBench(
            setting, trial.method_class, trial.seed, trial.sparsity, sweep.store, device_for(setting), watch
        )
        if plan_trial(setting, trial).chain.key != plan_key:
            raise RuntimeError(
                "the source of the method or network, the weights or the data changed after the sweep was planned; "
                "run the same command again (from a new Python process)"
            )
        chain = follow(bench, trial.method, trial.arm.check, trial.tested)
        result |= measured(bench, trial, chain)
        keep_ticket(sweep, bench, chain, result)
        result["status"] = "done"
        log.info("tested: %s", ", ".join(f"{name} {value:.6g}" for name, value in result["metrics"].items()))
    except Stopped:
        raise
    except Diverged as reason:
        result |= {
            "status": "diverged",
            "error": {"type": "Diverged", "message": str(reason), "traceback": ""},
            "metrics": costs(bench, trial) if bench else {},
            "history": reason.record.get("history", []),
        }
    except Blocked as reason:
        result |= {"status": "blocked", "blocked_by": reason.by}
    except (Exception, SystemExit) as error:
        if full := unwritable(error):
            raise full from error
        # whatever a method or network raises is this trial's result, nobody else's
        result |= failure(error)
        log.error("trial %s failed: %s", trial.id, result["error"]["message"])
        # of a trial that was started again elsewhere, because this worker was taken for dead
        if (known := sweep.result(trial.id, plan_key)) and known["status"] in FINAL:
            return known
    result["ended"] = time.time()
    result["waited_seconds"] = watch.waited
    write_result(sweep, result)
    return result


def write_result(sweep: SweepFolder, result: dict[str, Any]) -> None:
    """Keep a trial's result. A ticket stands beside a result that is `done` alone: one of an earlier plan goes."""
    folder = sweep.trial(result["trial"])
    if result["status"] != "done":
        (folder / FILE).unlink(missing_ok=True)
    write_sealed(folder / "result.json", result)


def device_for(setting: Setting) -> torch.device:
    """The device that the spec's resources ask for. Raises RuntimeError where it is not there."""
    if not setting.spec.resources.gpu:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RuntimeError("resources.gpu asks for a GPU and torch sees none here; set resources.gpu to 0")
    return torch.device("cuda")


def failure(error: BaseException) -> dict[str, Any]:
    """The fields of a failed result: the innermost cause's type and message, and the whole traceback."""
    cause = error.__cause__ or error
    text = "".join(traceback.format_exception(error))
    where = {"failed_stage": error.key} if hasattr(error, "key") else {}
    return {
        "status": "failed",
        "error": {"type": type(cause).__name__, "message": concealed(str(cause)), "traceback": concealed(text)},
        **where,
    }


def blank_result(setting: Setting, trial: Trial, plan_key: str, attempt: int) -> dict[str, Any]:
    """A result of which nothing is known yet but what was asked for, and where."""
    spec = setting.spec
    return {
        "schema": SCHEMA,
        "trial": trial.id,
        "key": plan_key,
        "status": "failed",
        "sweep": spec.name,
        "model": model_label(trial.model),
        "method": trial.arm.name,
        "label": trial.arm.label,
        "arm": trial.arm.unchecked,
        "check": trial.arm.check,
        "search": trial.search,
        "options": trial.arm.options,
        "sparsity": float(trial.sparsity),
        "seed": trial.seed,
        "data": spec.data.name,
        "data_fingerprint": setting.data.fingerprint,
        "params": _params(spec.model_dump(mode="json", include={"recipe", "data"}))
        | {f"model.{key}": value for key, value in trial.model.model_dump(mode="json").items()},
        "metrics": {},
        "layers": [],
        "latency": [],
        "history": [],
        "chain": [],
        "error": None,
        "blocked_by": None,
        "started": time.time(),
        "attempts": attempt,
        "host": {
            "hostname": socket.gethostname(),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name() if spec.resources.gpu and torch.cuda.is_available() else "cpu",
        },
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "jackpot": version(),
        },
        "correct": "",
    }


def version() -> str:
    """Jackpot's version."""
    return importlib.metadata.version("jackpot-tickets")


def _params(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as one level of dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= _params(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat


def keep_ticket(sweep: SweepFolder, bench: TrialBench, chain: Chain, result: Mapping[str, Any]) -> None:
    """Keep a trial's ticket in its folder: its masks, the weights to train from and those trained, with where it comes
    from."""
    start, trained = (weights_of(bench.value(stage.key)) for stage in (chain.ticket.weights, chain.trained))
    setting, masks = bench.setting, bench.masks(chain.ticket.masks, trained)
    path = sweep.trial(result["trial"]) / FILE
    write_ticket(path, LoadedTicket(masks, start, trained, provenance(result, setting), structure(setting)))
