"""What a ticket costs and saves: training, parameters, multiply-accumulates, bytes; what structural pruning reached."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
