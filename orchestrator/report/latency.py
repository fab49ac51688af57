"""What was measured of latencies: every structure in every runtime, and which runtime is the best for which tickets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.engine.speed import bests, verdict
from orchestrator.report import html
from orchestrator.report.cells import Network, Result, removed
from orchestrator.report.place import Place

CONDITIONS = ("device", "threads", "dtype", "memory_format", "software")
HEAD = (
    "network", "structure", "trials", "batch", "runtime", "ms (quartiles)", "dense ms", "speed-up (95 %)", "control",
    "MB", "verdict", "why", "measured on",
)  # fmt: skip
BEST_HEAD = ("network", "method", "removed", "batch", "best runtime", "speed-up", "why")

Record = Mapping[str, Any]


def latency_table(results: Sequence[Result], found: Sequence[Network], place: Place) -> Iterator[str]:
    """The best runtime of each network, method and sparsity, where there is a choice; then a row a structure, runtime,
    device and batch size, with the conditions it was measured under."""
    measured: dict[tuple, tuple[Result, Record, int]] = {}
    for result in results:
        for record in result.get("latency", []):
            named = ("structure", "batch", "runtime", *CONDITIONS)
            key = (result["model"], *(record.get(name) for name in named))
            first, _, count = measured.get(key, (result, record, 0))
            measured[key] = (first, record, count + 1)
    if not measured:
        return
    yield place.section("Measured latency")
    if rows := list(_best_rows(found, place)):
        yield html.table(BEST_HEAD, rows, BEST_CAPTION, left=(1, 4, 6))
    yield html.table(HEAD, [_row(place, *each) for each in measured.values()], CAPTION, left=(1, 4, 10, 11, 12))
    yield (
        '<p class="note">A speed-up counts only where its interval lies outside the control\'s. A noisy measurement '
        "has an interval wider than 2 % after five times the seconds asked for, or a control whose interval lies "
        "farther than 1 % from 1; what the system told of the disturbance stands beside it.</p>"
    )


CAPTION = "each structure and runtime, timed in turn with the dense network in eager torch and a second, the control"
BEST_CAPTION = (
    "the runtime with the highest speed-up of those faster than the dense network beyond chance, in the most trials; "
    "speed-up: the mean of these"
)


def _best_rows(found: Sequence[Network], place: Place) -> Iterator[list[str]]:
    for network in found:
        for label in network.labels:
            for sparsity in network.sparsities:
                done = network.at(label, sparsity).done
                chosen: dict[int, list[Record]] = {}
                for result in done:
                    for record in bests(result.get("latency", [])):
                        chosen.setdefault(record["batch"], []).append(record)
                for batch, records in sorted(chosen.items()):
                    shown, speedup, why = _most(records)
                    linked = place.alike(speedup, done)
                    yield [network.model, label, removed(sparsity), str(batch), shown, linked, why]


def _most(records: Sequence[Record]) -> tuple[str, str, str]:
    """The runtime that is the best most often, the mean of its speed-ups, and why it is that fast the first time."""
    counts = Counter(record["runtime"] for record in records)
    runtime, count = counts.most_common(1)[0]
    own = [record for record in records if record["runtime"] == runtime]
    shown = runtime if count == len(records) else f"{runtime} ({count} of {len(records)} trials)"
    return shown, f"{sum(record['speedup'] for record in own) / count:.3f}", own[0]["why"]


def _row(place: Place, result: Result, record: Record, trials: int) -> list[str]:
    where = f"{record['device']}, {record['threads']} threads, {record['dtype']}, {record['memory_format']}"
    where += f", {record['software']}" if "software" in record else ""
    shown = place.trial(result["trial"], str(trials))
    head = [result["model"], record["structure"][:8], shown, str(record["batch"]), record["runtime"]]
    if "error" in record:
        return [*head, "", "", "", "", "", "", record["error"], where]
    low, high = record["control"]["interval"]
    return [
        *head,
        f"{record['ms']:.4g} ({_range(record['iqr_ms'])})",
        f"{record['dense_ms']:.4g}",
        "1: the dense structure" if record["interval"] == [1, 1] else _ratio(record),
        f"{record['control']['speedup']:.3f} ({low:.3f} to {high:.3f})",
        f"{record['peak_mb']:.4g}" if "peak_mb" in record else "",
        verdict(record),
        record.get("why", ""),
        where,
    ]


def _ratio(record: Record) -> str:
    low, high = record["interval"]
    return f"{record['speedup']:.3f} ({low:.3f} to {high:.3f})"


def _range(pair: Sequence[float]) -> str:
    return f"{pair[0]:.4g} to {pair[1]:.4g}"
