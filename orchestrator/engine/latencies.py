"""The latencies of a trial's networks: a stage each for a network's structure in a runtime on a kind of machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from methods.bench import Tensors
from orchestrator.engine.request import Request
from orchestrator.engine.structures import Subject
from orchestrator.engine.train import weights_of

if TYPE_CHECKING:
    from orchestrator.engine.bench import TrialBench

Records = list[dict[str, Any]]


class Latencies:
    """Latencies of the networks of one bench, measured on this machine or found in the store."""

    def __init__(self, bench: TrialBench) -> None:
        self._bench = bench
        self._subjects: dict[str, Subject] = {}

    def key(self, stage: str, runtime: str) -> str:
        """The key of the measurement of a stage's weights in a runtime: networks of the same structure share it.
        Raises ValueError where they cannot run in it here."""
        with self._bench.watch.quiet.working():  # the network is compacted
            return self._subject(stage).key(runtime)

    def measured(self, stage: str, runtimes: Sequence[str]) -> Records:
        """The latency records of the network with a stage's weights on this machine, runtime by runtime."""
        dense = self._records(stage, "dense", self._subject(stage).key("dense"))
        found = {"dense": dense} | {name: self._beside(stage, name, dense) for name in runtimes if name != "dense"}
        return [record for runtime in runtimes for record in found[runtime]]

    def make(self, request: Request) -> tuple[Tensors, dict[str, Any]]:
        """Make the stage of a measurement."""
        subject, quiet = self._subject(request.inputs[0]), self._bench.watch.quiet
        with quiet.working():  # a compiler works for a minute, and may be heard
            ready = subject.prepare(request.options["runtime"])
        with quiet.alone():
            return {}, {"records": subject.measure(ready)}

    def _beside(self, stage: str, runtime: str, dense: Records) -> Records:
        """The records of another runtime, given those of `dense`."""
        try:
            key = self.key(stage, runtime)
        except ValueError as error:
            return self._subject(stage).impossible(runtime, error)
        if runtime == "compact" and not self._subject(stage).compact.changed:
            return self._subject(stage).unchanged(dense)
        return self._records(stage, runtime, key)

    def _records(self, stage: str, runtime: str, key: str) -> Records:
        self._bench.ensure(Request(key, "measure", (stage,), options={"runtime": runtime}, bench=self._bench))
        records: Records = self._bench.meta(key)["records"]
        return records

    def _subject(self, stage: str) -> Subject:
        """A stage's weights as what is to be measured; the last is kept, so that it is compacted once."""
        if stage not in self._subjects:
            weights = weights_of(self._bench.value(stage))
            self._subjects = {stage: Subject(self._bench.setting, weights, self._bench.device)}
        return self._subjects[stage]
