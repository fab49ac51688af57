"""How long a sweep will take on this machine: what its stages take, measured, through the schedule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import Plan, Planned
from orchestrator.engine.rehearsal import PROCESSES, START_SECONDS, Rehearsal, rehearse
from orchestrator.engine.rehearser import Cell, Piece, cell_of
from orchestrator.engine.request import Request, training_key
from orchestrator.engine.trials import Trial, model_label
from orchestrator.spec.models import Resources, Spec
from orchestrator.sweep.session import fitting
from orchestrator.sweep.simulation import Part, Simulation

MEASURE_SECONDS = 20.0
"""How long trials are gone through; their processes take a while to start, and latencies to be measured."""
TURN_SECONDS = 0.05
"""What Ray Tune takes to bring a slot its next trial, and the driver to hear of its end."""
RAY_SECONDS, END_SECONDS = 14.0, 9.0
"""What Ray takes to start, its workers included, but for what these load; and at the end to stop, while report and
MLflow are brought up to date. As measured on two cores of a Xeon: nothing here measures them."""


def local_slots(each: Resources, concurrency: int | None) -> int:
    """Trials at once on a Ray that is started here; 0 where none fits."""
    import torch
    from ray._private.utils import get_num_cpus  # which knows of the limits of containers

    here = {"CPU": float(get_num_cpus()), "GPU": float(torch.cuda.device_count())}
    fit = fitting([here], each)
    return min(fit, concurrency or fit)


def left_of(plan: Plan) -> list[Planned]:
    """The trials that a sweep has left."""
    return [planned for planned in plan.planned if planned.id not in plan.done]


def examples(trials: Iterable[Planned]) -> list[Trial]:
    """A trial of each cell, in the order to go through them: one of each method at its highest sparsity, the shortest
    chain first; then those at other sparsities, whose networks may have other structures."""
    found: dict[Cell, Planned] = {}
    for planned in trials:
        found.setdefault(cell_of(planned.trial), planned)
    highest: dict[tuple[str, str], Decimal] = {}
    for (model, label, _), planned in found.items():
        highest[model, label] = max(planned.trial.sparsity, highest.get((model, label), Decimal(0)))

    def later(planned: Planned) -> tuple[bool, float]:
        model, label, _ = cell_of(planned.trial)
        return planned.trial.sparsity < highest[model, label], float(planned.epochs)

    return [planned.trial for planned in sorted(found.values(), key=later)]


class Costs:
    """What the trials of a sweep take, given a rehearsal of some of them."""

    def __init__(self, spec: Spec, plan: Plan, rehearsal: Rehearsal) -> None:
        self._spec, self._plan, self._rehearsal = spec, plan, rehearsal
        self.unknown: set[str] = set()
        """Methods whose own trial was not gone through; trainings of another's stand in for theirs."""

    def parts(self, planned: Planned) -> list[Part]:
        """The work of a trial, in order. Raises LookupError where no trial of its network was gone through."""
        pieces, around = self._pieces(planned)
        found: list[Part] = []
        seen: dict[str, int] = {}
        for request in planned.chain.requests:
            own = [piece for piece in pieces if piece.kind == request.kind] or [Piece(request.kind, 0.0)]
            index = seen[request.kind] = seen.get(request.kind, -1) + 1
            found += self._of(planned, request, own[min(index, len(own) - 1)])
        return [*found, Part(f"around {planned.id}", around + TURN_SECONDS)]

    def _pieces(self, planned: Planned) -> tuple[Sequence[Piece], float]:
        """What the stages of a trial take: those of its own cell, else of its method at another sparsity; else the mean
        training and evaluation of its network."""
        cells, cell = self._rehearsal.cells, cell_of(planned.trial)
        alike = [cell, *(other for other in cells if other[:2] == cell[:2])]
        for each in alike:
            if each in cells:
                return cells[each].pieces, cells[each].around
        self.unknown.add(planned.trial.arm.label)
        others = [cells[other] for other in cells if other[0] == cell[0]]
        if not others:
            raise LookupError(model_label(planned.trial.model))
        some = max(others, key=lambda each: max(piece.step for piece in each.pieces))
        return [piece for piece in some.pieces if piece.kind in ("train", "evaluate")], some.around

    def _of(self, planned: Planned, request: Request, piece: Piece) -> Iterator[Part]:
        if request.kind == "train":
            assert request.bench is not None
            per_epoch, start = request.bench.setting.per_epoch, request.start
            for cut in [step for step in self._plan.cuts[request.run] if request.start < step <= request.until]:
                epochs = cut // per_epoch - start // per_epoch
                seconds = piece.own + (cut - start) * piece.step + epochs * piece.validation
                yield Part(training_key(request.run, cut), seconds, goal=request.key)
                start = cut
        elif request.kind == "latency":
            model = model_label(planned.trial.model)
            whose = "dense" if piece.dense else request.key
            yield Part(f"latency of {model} {whose}", self._latency(model), goal=request.key, alone=True)
            # in another runtime every mask is a structure of its own; preparing it, which others may work beside, is
            # not counted
            for runtime in (each for each in request.options["runtimes"] if each != "dense"):
                named = f"{runtime} latency of {model} {request.key}"
                yield Part(named, self._latency(model), goal=request.key, alone=True)
            yield Part(request.key, piece.own)
        else:
            yield Part(request.key, piece.own + piece.validation + piece.test)

    def _latency(self, model: str) -> float:
        """Seconds that measuring a structure takes: what the spec says, where there was no time to try."""
        said = self._spec.latency.seconds * len(self._spec.latency.batches)
        return self._rehearsal.latency.get(model, said)

    def search(self, plan: Plan, searched: Mapping[str, Any]) -> float:
        """Seconds of slots that the trials take which a search has still to decide on, at most: they are like those
        that it begins with, but for the trainings that these share."""
        first = next((each for each in plan.planned if each.trial.search is not None), plan.planned[0])
        pieces, around = self._pieces(first)
        last = max((piece for piece in pieces if piece.kind == "train"), key=lambda piece: piece.step)
        training = searched["epochs_each"] * (first.per_epoch * last.step + last.validation)
        own = sum(piece.own + (piece.test if piece.kind == "evaluate" else 0.0) for piece in pieces)
        return (searched["proposals"] + searched["finalists"]) * (training + own + around + TURN_SECONDS)


def forecast(
    spec: Spec, folder: SweepFolder, plan: Plan, planning: float, searched: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What `jackpot run` would take on this machine: `seconds`, or None and `why`. `planning`: seconds from the start
    of the command until the plan was made; `searched`: what a search has still to decide on (RatioSearch.forecast)."""
    to_decide = searched if searched and searched["epochs"] else None
    if not left_of(plan) and to_decide is None:
        return _unknown("nothing is left to run", seconds=0.0)
    slots = local_slots(spec.resources, spec.concurrency)
    if slots == 0:
        return _unknown(
            f"no trial fits this machine: each asks for {spec.resources.cpu} CPU and {spec.resources.gpu:g} GPU"
        )
    trials = examples(left_of(plan) or plan.planned)
    if not trials:
        return _unknown("no trial is decided on yet")
    rehearsal = rehearse(spec, trials, slots, MEASURE_SECONDS)
    costs = Costs(spec, plan, rehearsal)
    try:
        simulation = Simulation(plan, slots, costs.parts, folder.store.knows).run()
        deciding = costs.search(plan, to_decide) / slots if to_decide else 0.0
    except LookupError as error:
        why = rehearsal.failed.get(cell_of(trials[0]), f"no step of training was done within {START_SECONDS:g} s")
        return _unknown(f"{error.args[0]}: {why}")
    start, running = planning + RAY_SECONDS + rehearsal.start, simulation.seconds + deciding
    return {
        "seconds": start + running + END_SECONDS,
        "start_seconds": start,
        "trials_seconds": running,
        "end_seconds": END_SECONDS,
        "slots": slots,
        "busy": simulation.busy,
        "at_most": any(planned.chain.bounded for planned in left_of(plan)) or to_decide is not None,
        "networks": {label: _paces(rehearsal, label) for label in {model_label(trial.model): None for trial in trials}},
        "processes": min(slots, PROCESSES),
        "not_measured": sorted(costs.unknown),
    }


def _unknown(why: str, seconds: float | None = None) -> dict[str, Any]:
    return {"seconds": seconds, "why": why}


def _paces(rehearsal: Rehearsal, model: str) -> dict[str, float | None]:
    """What was measured of a network: milliseconds of a step, of its dense training and of the slowest; seconds of a
    validation, and of its latency."""
    trained = [
        piece
        for cell, rehearsed in rehearsal.cells.items()
        for piece in rehearsed.pieces
        if cell[0] == model and piece.kind == "train"
    ]
    steps = [1e3 * piece.step for piece in trained]
    return {
        "step_ms": min(steps, default=None),
        "slowest_step_ms": max(steps, default=None),
        "validation_seconds": max((piece.validation for piece in trained), default=None),
        "latency_seconds": rehearsal.latency.get(model),
    }


def lines(found: Mapping[str, Any], cluster: bool = False) -> list[str]:
    """A forecast in words. `cluster`: of a sweep that is to run on one."""
    if "why" in found:
        return [f"time: not known, {found['why']}" if found["seconds"] is None else f"time: none, {found['why']}"]
    most = "at most " if found["at_most"] else ""
    busy = "" if found["busy"] is None else f", slots busy {100 * found['busy']:.0f} %"
    trials = "1 trial" if found["slots"] == 1 else f"{found['slots']} trials"
    said = [
        f"time: {most}about {_words(found['seconds'])} on this machine with {trials} at once: "
        f"{_words(found['start_seconds'])} until the first trains, {_words(found['trials_seconds'])} of trials{busy}, "
        f"{_words(found['end_seconds'])} at the end"
    ]
    for network, pace in found["networks"].items():
        if pace["step_ms"] is not None:
            to = f" to {pace['slowest_step_ms']:.3g}" if pace["slowest_step_ms"] > 1.05 * pace["step_ms"] else ""
            at_once = f", measured in {found['processes']} processes at once" if found["processes"] > 1 else ""
            said.append(f"  {network}: a step of training takes {pace['step_ms']:.3g}{to} ms{at_once}")
    if found["not_measured"]:
        said.append(
            "  not measured, for lack of time or because they need trained weights, so taken as the network's training "
            f"alone: {', '.join(found['not_measured'])}"
        )
    if cluster:
        said.append("  a cluster's machines may be faster or slower than this one, and hold more trials at once")
    return said


def _words(seconds: float) -> str:
    """A time in words."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"
