"""The whole course of a trial: its ticket found, trained, evaluated and timed."""

from __future__ import annotations

from dataclasses import dataclass

from methods.bench import Stage, Ticket
from methods.checks import find_checked
from methods.method import Method
from orchestrator.engine.files import digest
from orchestrator.engine.planning import PlanningBench
from orchestrator.engine.request import Request


@dataclass(frozen=True)
class Chain:
    """All that one trial asks for, in order, and the names of its ends."""

    ticket: Ticket
    trained: Stage
    evaluated: Stage
    latency: Stage | None
    before: Stage | None
    """Of the weights that the method names in `Ticket.before`, the evaluation."""
    requests: tuple[Request, ...]
    bounded: bool
    """Whether the course depends on data: the plan is then the longest one there may be."""
    key: str
    """Hash of the whole chain and of the method's source: a result with this key is still valid."""

    @property
    def trainings(self) -> list[Request]:
        """The trainings of the chain."""
        return [request for request in self.requests if request.kind == "train"]


def follow(bench: PlanningBench, method: Method, check: str | None = None, tested: bool = True) -> Chain:
    """Run a method on a bench, train its ticket, evaluate and time it: the whole course of a trial, planned or real.
    `check`: a sanity check that the ticket is put to; `tested`: whether on the test set too."""
    ticket = find_checked(bench, method, check)
    if not isinstance(ticket, Ticket):
        raise TypeError(f"`find` returned a value of type {type(ticket).__name__}; expected a methods.bench.Ticket")
    trained = ticket.trained or bench.train(ticket.weights, ticket.masks)
    evaluated = bench.evaluate(trained, tested)
    before = bench.evaluate(ticket.before, tested) if ticket.before else None
    timing = bench.setting.spec.latency
    latency = bench.latency(trained, timing.runtimes) if timing.enabled else None
    requests = tuple(bench.requests.values())
    key = digest({"source": bench.method_source, "stages": [request.key for request in requests]})
    return Chain(ticket, trained, evaluated, latency, before, requests, bool(bench.answers), key)
