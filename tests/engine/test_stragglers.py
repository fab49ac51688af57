"""Slow hosts are found in the events of trials, whatever their clocks say."""

import pytest

from orchestrator.engine.stragglers import describe, stragglers


def trial(host, seconds, model="convnet", epochs=6, stage="a", start=0.0):
    """The events of a trial whose epochs take so long on a host whose clock says `start` in the beginning."""
    begin = {"time": start, "begin": "key", "host": host, "model": model}
    made = [{"time": start + 50, "stage": stage, "kind": "train"}]
    for epoch in range(epochs):
        told = {"epoch": epoch + 1, "step": 6 * epoch + 6, "steps": 6, "per_epoch": 6}
        made.append({"time": start + 60 + seconds * epoch, "stage": stage, "kind": "train", **told})
    return [begin, *made]


def test_a_host_that_is_slow_by_ten_is_named():
    found = stragglers([trial("red", 1), trial("green", 1.2, start=-3600), trial("blue", 11)])
    assert [each["host"] for each in found] == ["blue"]
    assert found[0]["times"] == pytest.approx(10)
    assert describe(found[0]) == (
        "slow host: blue: an epoch of convnet takes 11 s there, 10.0 times as long as on the others"
    )


def test_a_host_that_becomes_slow_is_named_and_one_that_is_quick_again_is_not():
    quick, slow = trial("blue", 1, epochs=40, start=100), trial("blue", 10, epochs=7, start=900)
    assert [each["times"] for each in stragglers([trial("red", 1), slow, quick])] == [10]
    later = trial("blue", 1, epochs=10, start=2000)
    assert stragglers([later, trial("red", 1), slow, quick]) == []


def test_of_two_hosts_only_the_slow_one_is_named():
    assert [each["host"] for each in stragglers([trial("red", 1), trial("blue", 4)])] == ["blue"]


@pytest.mark.parametrize(
    "events",
    [
        [],
        [trial("red", 100)],  # nobody to compare with
        [trial("red", 1), trial("blue", 2.9)],
        [trial("red", 1, "resnet20"), trial("blue", 10, "resnet56")],
        [trial("red", 1), trial("blue", 10, epochs=3)],  # the first epoch says nothing: two are left
    ],
)
def test_who_is_not_slow_is_not_named(events):
    assert stragglers(events) == []


def test_a_wait_is_not_slowness():
    waited = trial("blue", 1, epochs=4)
    for i, at in ((4, 500.0), (5, 1000.0)):
        waited.insert(2 * i - 5, {"time": at, "stage": "a", "kind": "train", "waiting": "a latency", "step": 1})
    waits = [event for event in waited if event.get("waiting")]
    assert len(waits) == 2
    assert stragglers([trial("red", 1), waited]) == []


def test_each_host_is_named_once_by_the_network_it_is_slowest_at():
    events = [trial(host, seconds * slow, model) for host, slow in (("red", 1), ("blue", 5)) for model, seconds in
              (("convnet", 1), ("resnet20", 2 if host == "red" else 4))]  # fmt: skip
    (found,) = stragglers(events)
    assert (found["host"], found["model"], found["times"]) == ("blue", "resnet20", 10)
