"""What a ticket costs and saves: training, parameters, multiply-accumulates, bytes, and measured latency."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from orchestrator.report import html
from orchestrator.report.cells import Cell, Network, Result, removed
from orchestrator.report.place import Place

COLUMNS = (
    ("cost/epochs", "epochs to the trained ticket", "{:.4g}"),
    ("compression_ratio", "parameters, times fewer", "{:.2f}"),
    ("macs/speedup", "MACs, times fewer", "{:.2f}"),
    ("latency/speedup/b1", "measured speed-up, batch 1", "{:.2f}"),
    ("latency/speedup/b64", "batch 64", "{:.2f}"),
    ("size/dense_mb", "file, MB", "{:.3g}"),
    ("size/sparse_mb", "kept weights alone", "{:.3g}"),
    ("size/compressed_mb", "compressed", "{:.3g}"),
)
CONDITIONS = ("device", "threads", "dtype", "memory_format", "runtime")


def cost_table(found: Sequence[Network], place: Place) -> Iterator[str]:
    """A row a network, method and sparsity: means over seeds of what was counted and measured."""
    rows = [
        [
            *(network.model, label, removed(sparsity)),
            *(place.alike(said, cell.results) for said in [_training(network, cell), *_means(cell)]),
        ]
        for network in found
        for label in network.labels
        for sparsity in network.sparsities
        if (cell := network.at(label, sparsity)).done
    ]
    if rows:
        yield place.section("What it costs and saves")
        head = ["network", "method", "removed", "FLOPs of training, x dense", *(name for _, name, _ in COLUMNS)]
        yield html.table(head, rows, "means over seeds; MACs and FLOPs with removed weights free", left=(1,))


def _training(network: Network, cell: Cell) -> str:
    """FLOPs of all training that the ticket took, as a multiple of the dense network's; by themselves without one."""
    found = cell.estimate("cost/train_flops")
    dense = next((c.estimate("cost/train_flops") for (_, s), c in network.cells.items() if s == 0 and c.done), None)
    if found is None:
        return ""
    return f"{found.mean / dense.mean:.3g}" if dense and dense.mean else f"{found.mean:.3g} FLOPs"


def _means(cell: Cell) -> list[str]:
    found = [(cell.estimate(metric), shape) for metric, _, shape in COLUMNS]
    return ["" if each is None else shape.format(each.mean) for each, shape in found]


def structure_table(results: Sequence[Result], place: Place) -> Iterator[str]:
    """A row an arm that removes filters or layers, and its target: what was asked for and what was reached."""
    cells: dict[tuple[str, str, float], list[Result]] = {}
    for result in results:
        if "target" in result["options"] and result["status"] == "done":
            cells.setdefault((result["model"], result["label"], result["sparsity"]), []).append(result)
    rows = []
    for (model, label, fraction), own in cells.items():
        cell, options = Cell(tuple(own)), own[0]["options"]
        batch = options.get("latency_batch") or (own[0]["latency"][0]["batch"] if own[0]["latency"] else 1)
        speedup = cell.estimate(f"latency/speedup/b{batch}")
        macs = cell.estimate("macs/speedup")
        rows.append(
            [
                model, label, f"{100 * fraction:.4g} % of {options['target']}", _percent(cell, "sparsity/global"),
                "" if macs is None else f"{100 * (1 - 1 / macs.mean):.1f} %",
                "" if speedup is None else f"{100 / speedup.mean:.1f} % (batch {batch})", place.accuracy(cell),
            ]
        )  # fmt: skip
    if rows:
        yield place.section("What structural pruning reached")
        head = (
            "network",
            "method",
            "asked to remove",
            "weights removed",
            "MACs removed",
            "latency left",
            "accuracy, %",
        )
        yield html.table(head, rows, "means over seeds; latency as measured, beside the dense network's", left=(1, 2))


def _percent(cell: Cell, metric: str) -> str:
    found = cell.estimate(metric, 100)
    return "" if found is None else f"{found.mean:.1f} %"


def latency_table(results: Sequence[Result], place: Place) -> Iterator[str]:
    """A row a structure, device and batch size, with the conditions it was measured under."""
    measured: dict[tuple, tuple[Result, dict[str, Any], int]] = {}
    for result in results:
        for record in result.get("latency", []):
            key = (result["model"], record["structure"], record["batch"], *(record.get(name) for name in CONDITIONS))
            first, _, count = measured.get(key, (result, record, 0))
            measured[key] = (first, record, count + 1)
    if not measured:
        return
    yield place.section("Measured latency")
    yield html.table(
        ("network", "structure", "trials", "batch", "ms (quartiles)", "dense ms", "speed-up (95 %)", "control", "MB",
         "verdict", "device"),
        [_latency_row(place, *each) for each in measured.values()],
        "one forward pass, median over rounds in which dense, this and a second dense network (the control) take turns",
        left=(1, 9, 10),
    )  # fmt: skip
    yield (
        '<p class="note">A masked network has its dense structure and so its latency: masks alone make nothing faster. '
        "A speed-up counts only where its interval lies outside the control's. A noisy measurement was disturbed: the "
        "control's interval misses 1, or an interval is wider than 5 %.</p>"
    )


def _latency_row(place: Place, result: Result, record: dict[str, Any], trials: int) -> list[str]:
    where = ", ".join(str(record[name]) for name in CONDITIONS[:1])
    where += f", {record['threads']} threads, {record['dtype']}, {record['memory_format']}, {record['runtime']}"
    shown = place.trial(result["trial"], str(trials))
    head = [result["model"], record["structure"][:8], shown, str(record["batch"])]
    if "error" in record:
        return [*head, "", "", "", "", "", record["error"], where]
    low, high = record["control"]["interval"]
    return [
        *head,
        f"{record['ms']:.4g} ({_range(record['iqr_ms'])})",
        f"{record['dense_ms']:.4g}",
        "1: the dense structure" if record["interval"] == [1, 1] else _ratio(record),
        f"{record['control']['speedup']:.3f} ({low:.3f} to {high:.3f})",
        f"{record['peak_mb']:.4g}",
        verdict(record),
        where,
    ]


def verdict(record: dict[str, Any]) -> str:
    """Whether a record's speed-up counts."""
    if record["noisy"]:
        return "noisy"
    (low, high), (bottom, top) = record["interval"], record["control"]["interval"]
    if low == high == 1:
        return "as dense"
    return "faster" if low > max(1, top) else "slower" if high < min(1, bottom) else "not told apart from dense"


def _ratio(record: dict[str, Any]) -> str:
    low, high = record["interval"]
    return f"{record['speedup']:.3f} ({low:.3f} to {high:.3f})"


def _range(pair: Sequence[float]) -> str:
    return f"{pair[0]:.4g} to {pair[1]:.4g}"
