"""The report's plots, as plotly's JSON: made without plotly's own package, which takes seconds to load."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape  # plotly takes tags in a label for tags
from typing import Any

from orchestrator.report.cells import Cell, Network

Figure = dict[str, Any]

# Okabe and Ito's palette, told apart by the colour-blind; markers tell it once more
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8A8A00", "#777777")
MARKERS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")

ACCURACY = "test accuracy, %"


def against_sparsity(network: Network) -> Figure:
    """Accuracy of each method over the sparsities; the dense network as a line across."""
    sparsities = [sparsity for sparsity in network.sparsities if sparsity > 0]
    # by density on a logarithmic axis: 90, 95 and 98 % removed are as far apart as what is kept
    traces = []
    for i, label in enumerate(network.labels):
        points = [(s, network.at(label, s)) for s in network.sparsities if network.at(label, s).values("accuracy/test")]
        if [s for s, _ in points] == [0.0] and sparsities:
            points = [(s, points[0][1]) for s in (sparsities[0], sparsities[-1])]
            traces.append(_trace(label, i, [100 * (1 - s) for s, _ in points], [c for _, c in points], dash="dash"))
        elif points:
            traces.append(_trace(label, i, [100 * (1 - s) for s, _ in points], [c for _, c in points]))
    ticks = [100 * (1 - s) for s in sparsities]
    axis = {
        "title": {"text": "weights kept, %"}, "type": "log", "autorange": "reversed",
        "tickvals": ticks, "ticktext": [f"{tick:.4g}" for tick in ticks],
    }  # fmt: skip
    return _figure(traces, axis)


def against_metric(named: Sequence[Network], metric: str, title: str, front: bool) -> Figure | None:
    """Accuracy of each network, method and sparsity over another metric; with the Pareto front of those that no other
    beats in both. None where nothing has the metric."""
    traces, all_points = [], []
    pairs = [(network, label) for network in named for label in network.labels]
    for i, (network, label) in enumerate(pairs):
        points = []
        for sparsity in network.sparsities:
            cell = network.at(label, sparsity)
            x, y = cell.estimate(metric), cell.estimate("accuracy/test", 100)
            if x is not None and y is not None:
                points.append((x.mean, cell, "dense" if sparsity == 0 else f"{100 * sparsity:.4g} %"))
                all_points.append((x.mean, y.mean))
        if points:
            name = f"{network.model} {label}" if len(named) > 1 else label
            trace = _trace(name, i, [x for x, _, _ in points], [cell for _, cell, _ in points])
            traces.append(trace | {"mode": "markers+text", "text": [text for *_, text in points],
                                   "textposition": "bottom center"})  # fmt: skip
    if not traces:
        return None
    if front:
        best = pareto(all_points)
        traces.append(
            {
                "name": "Pareto front", "x": [x for x, _ in best], "y": [y for _, y in best], "mode": "lines",
                "line": {"shape": "hv", "dash": "dot", "color": "#888888"}, "hoverinfo": "skip",
            }
        )  # fmt: skip
    positive = all(x > 0 for x, _ in all_points)
    return _figure(traces, {"title": {"text": title}, "type": "log" if positive else "linear"})


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (cost, value) points that no other beats: none is at most as dear and better, or cheaper and as good."""
    front: list[tuple[float, float]] = []
    for cost, value in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or value > front[-1][1]:
            front.append((cost, value))
    return front


def layer_profile(network: Network) -> Figure | None:
    """Keep ratio of every layer, a column a layer and a row a method and sparsity, mean over seeds. None where no
    ticket removes anything."""
    rows, names, layers = [], [], []
    for label in network.labels:
        for sparsity in (s for s in network.sparsities if s > 0):
            done = network.at(label, sparsity).done
            if not done:
                continue
            layers = [escape(layer["name"]) for layer in done[0]["layers"]]
            ratios = [[layer["keep_ratio"] for layer in result["layers"]] for result in done]
            rows.append([sum(column) / len(column) for column in zip(*ratios, strict=True)])
            names.append(escape(f"{label} {100 * sparsity:.4g} %"))
    if not rows:
        return None
    trace = {
        "type": "heatmap", "x": layers, "y": names, "z": rows, "zmin": 0, "zmax": 1, "colorscale": "Cividis",
        "colorbar": {"title": {"text": "kept"}}, "hovertemplate": "%{y}<br>%{x}: %{z:.4f} kept<extra></extra>",
    }  # fmt: skip
    figure = _figure([trace], {"tickangle": -60, "automargin": True, "type": "category"})
    figure["layout"]["yaxis"] = {"autorange": "reversed", "automargin": True, "type": "category"}
    figure["layout"]["height"] = 180 + 24 * len(rows)
    return figure


def _trace(label: str, place: int, x: Sequence[float], cells: Sequence[Cell], dash: str = "solid") -> dict[str, Any]:
    found = [cell.estimate("accuracy/test", 100) for cell in cells]
    means = [each.mean if each else None for each in found]
    bars = [each.half_width or 0.0 if each else 0.0 for each in found]
    colour = COLOURS[place % len(COLOURS)]
    seeds = [f"{each.seeds} seeds" if each else "" for each in found]
    return {
        "name": escape(label), "x": list(x), "y": means, "mode": "lines+markers", "customdata": seeds,
        "error_y": {"type": "data", "array": bars, "thickness": 1.2},
        "marker": {"symbol": MARKERS[place % len(MARKERS)], "color": colour, "size": 9},
        "line": {"color": colour, "dash": dash},
        "hovertemplate": "%{x:.4g}: %{y:.2f} % (%{customdata})",
    }  # fmt: skip


def _figure(traces: Sequence[dict[str, Any]], x_axis: dict[str, Any]) -> Figure:
    return {
        "data": list(traces),
        "layout": {
            "xaxis": x_axis, "yaxis": {"title": {"text": ACCURACY}}, "height": 420,
            "margin": {"l": 60, "r": 20, "t": 20, "b": 60}, "legend": {"orientation": "h", "y": -0.25},
        },
    }  # fmt: skip
