"""What a record of a measured latency says: whether it counts, why it is so, and which runtime is the best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]
FASTER, SLOWER = "faster", "slower"
BESIDE = ("compact", "compiled", "onnxruntime")
"""The runtimes beside `dense`, the network as it is in eager torch."""

NAMES = {
    "ms": "latency/ms",
    "dense_ms": "latency/dense_ms",
    "speedup": "latency/speedup",
    "peak_mb": "memory/peak_mb",
}
"""What of a record of the runtime `dense` is a metric, and its name before "/b" and the batch size."""
OTHERS = ("ms", "speedup")
"""What of another runtime's."""


def metrics(records: Sequence[Record]) -> dict[str, float]:
    """The records' numbers under their metric names: latency/ms/b1, memory/peak_mb/b64, latency/compact/ms/b1, ...
    Where there is more than the runtime `dense`, also the best one's latency/best/speedup/b1, ..."""
    found: dict[str, float] = {}
    for record in records:
        runtime, batch = record["runtime"], record["batch"]
        named = NAMES if runtime == "dense" else {field: f"latency/{runtime}/{field}" for field in OTHERS}
        found |= {f"{name}/b{batch}": record[field] for field, name in named.items() if field in record}
    return found | {f"latency/best/speedup/b{own['batch']}": own["speedup"] for own in bests(records)}


def bests(records: Sequence[Record]) -> list[Record]:
    """The record of the best runtime at each batch size at which there is more than `dense`: the highest speed-up of
    those that are faster than dense (`verdict`), else that of `dense`."""
    batches = dict.fromkeys(record["batch"] for record in records if record["runtime"] in BESIDE)
    found = [_best([record for record in records if record["batch"] == batch]) for batch in batches]
    return [record for record in found if record is not None]


def _best(records: Iterable[Record]) -> Record | None:
    there = [record for record in records if "error" not in record]
    faster = [record for record in there if outside(record) == FASTER]
    dense = [record for record in there if record["runtime"] == "dense"]
    return max(faster, key=lambda record: record["speedup"]) if faster else next(iter(dense), None)


def outside(record: Record) -> str | None:
    """FASTER or SLOWER where the record's interval lies outside the control's and beyond 1; else None."""
    (low, high), (bottom, top) = record["interval"], record["control"]["interval"]
    return FASTER if low > max(1, top) else SLOWER if high < min(1, bottom) else None


def verdict(record: Record) -> str:
    """Whether a record's speed-up counts, and what disturbed its measurement."""
    disturbed = "; ".join(record.get("disturbed", []))
    found = "as dense" if [*record["interval"]] == [1, 1] else outside(record) or "not told apart from dense"
    if record["noisy"]:
        return f"{found}, but noisy: {disturbed or 'the system tells of no reason'}"
    return f"{found} (meanwhile {disturbed})" if disturbed else found


def why(record: Record) -> str:
    """What makes a record's network as fast as it is, in a sentence; the record knows its `channels` and `macs`, each
    what is left of the dense network's, where they are fewer."""
    if "error" in record:
        return str(record["error"])
    left = []
    if record.get("channels"):
        kept, of = record["channels"]
        left.append(f"{of - kept:,} of {of:,} channels removed")
    share = record["macs"][0] / record["macs"][1]
    if share < 1:
        left.append(f"{_percent(share)} of the multiply-accumulates left")
    if record["macs"][0] == 0:
        left = ["nothing is left to compute: the outputs are the same for every image"]
    if record["runtime"] == "dense":
        facts = ", ".join(left) or "the dense structure: what a mask removes is multiplied all the same"
    else:
        facts = ", ".join([*([] if record.get("channels") else ["no channel could be removed"]), *left])
    if record["runtime"] in ("compiled", "onnxruntime"):
        facts = f"{record['software']}; {facts}"
    elif record["runtime"] == "compact" and record.get("channels") and record["macs"][0]:
        facts += "; a program that calls no modules, which alone gains at small batches"
    return f"slower: {facts}" if outside(record) == SLOWER else facts


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"
