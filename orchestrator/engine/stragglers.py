"""Hosts on which an epoch takes much longer than elsewhere, from the events of a sweep's trials."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import median
from typing import Any

SLOW = 3.0
"""Times as long as on the other hosts from which a host is named."""
FEWEST = 3
"""Epochs of a network that a host has trained at least, to be judged by it."""
LAST = 9
"""Epochs of a network by which a host is judged: those that it trained last, for a host may become slow."""


def stragglers(events: Iterable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The slow hosts, slowest first: `host`, the `model` by which it is judged, the `seconds` that an epoch of it takes
    there, and how many `times` as long as on the other hosts that is. Medians of the
    last epochs; each host's times are by its own clock.

    events: of every trial."""
    paces = _paces(events)
    found: list[dict[str, Any]] = []
    for model, by_host in paces.items():
        usual = {host: median(seconds) for host, seconds in by_host.items() if len(seconds) >= FEWEST}
        for host, seconds in usual.items():
            others = [each for other, each in usual.items() if other != host]
            if others and (times := seconds / median(others)) >= SLOW:
                found.append({"host": host, "model": model, "seconds": seconds, "times": times})
    slowest: dict[str, dict[str, Any]] = {}
    for each in sorted(found, key=lambda each: -each["times"]):
        slowest.setdefault(each["host"], each)
    return list(slowest.values())


def describe(slow: dict[str, Any]) -> str:
    """One of them in a line."""
    return (
        f"slow host: {slow['host']}: an epoch of {slow['model']} takes {slow['seconds']:.3g} s there, "
        f"{slow['times']:.1f} times as long as on the others"
    )


def _paces(events: Iterable[list[dict[str, Any]]]) -> dict[str, dict[str, list[float]]]:
    """Network -> host -> seconds an epoch, one for every two reports of a training that follow each other; the last."""
    paces: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for of_trial in events:
        begun: dict[str, Any] = {}
        before: dict[str, Any] = {}
        for event in of_trial:
            if "begin" in event:
                begun = event
            # a training's first report is also about what came before it: its start, or a wait
            follows = before.get("stage") == event.get("stage") and "steps" in before and not before.get("waiting")
            if "epoch" in event and follows and "model" in begun and event["steps"]:
                epochs = event["steps"] / event["per_epoch"]
                seconds = (event["time"] - before["time"]) / epochs
                paces[begun["model"]][begun["host"]].append((event["time"], seconds))
            before = event
    return {
        model: {host: [seconds for _, seconds in sorted(told)[-LAST:]] for host, told in by_host.items()}
        for model, by_host in paces.items()
    }
