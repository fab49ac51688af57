"""The device type on which a sweep's latencies are measured."""

import re

import pytest

from orchestrator.spec.models import Resources
from orchestrator.sweep.devices import LABEL, sweep_device
from orchestrator.sweep.session import ClusterError

EACH = Resources(cpu=1, gpu=0.5)


def node(kind: str | None, gpus: float, cpus: float = 8) -> dict:
    return {"Labels": {LABEL: kind} if kind else {}, "Resources": {"CPU": cpus, "GPU": gpus}}


HEAD = node(None, 0, cpus=0)


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([HEAD, node("A", 1), node("A", 2)], None),
        ([HEAD, node("A", 1), node("B", 2)], "B"),
        ([HEAD, node("A", 2), node("B", 1), node("B", 1)], "A"),  # as many: the first by name
        ([HEAD, node("A", 1), node("B", 8, cpus=1)], "A"),  # two trials fit on A, on B one
        ([HEAD, node("A", 1), node(None, 8)], "A"),  # a machine without a label cannot be asked for
        ([node(None, 1), node(None, 1)], None),
        ([HEAD], None),
    ],
)
def test_the_type_that_most_trials_fit_on(nodes: list[dict], expected: str | None) -> None:
    assert sweep_device(nodes, EACH, None, slots=2) == expected


def test_the_type_wished_for() -> None:
    nodes = [HEAD, node("A", 1), node("B", 2)]
    assert sweep_device(nodes, EACH, "A", slots=6) == "A"
    assert sweep_device([HEAD], EACH, "A", slots=4) == "A", "machines are still to come"
    words = (
        f"latency.device: no machine of the cluster that a trial fits on is labelled {LABEL}=C; labelled so are: A, B"
    )
    with pytest.raises(ClusterError, match=re.escape(words)):
        sweep_device(nodes, EACH, "C", slots=6)
