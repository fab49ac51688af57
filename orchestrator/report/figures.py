"""The report's plots, as plotly's JSON: made without plotly's own package, which takes seconds to load."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape  # plotly takes tags in a label for tags
from typing import Any

from orchestrator.report.cells import Cell, Network

Figure = dict[str, Any]

# Okabe and Ito's palette, told apart by the colour-blind; markers tell it once more
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8A8A00", "#777777")
MARKERS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")

LEGEND = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"}
"""At the foot of the plot, which makes room for it."""
ACCURACY = "test accuracy, %"


def against_sparsity(network: Network) -> Figure | None:
    """Accuracy of each method over the sparsities; the dense network as a line across. None before any trial has an
    accuracy."""
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
    if not traces:
        return None
    ticks = [100 * (1 - s) for s in sparsities]
    axis = {
        "title": {"text": "weights kept, %"}, "type": "log", "autorange": "reversed",
        "tickvals": ticks, "ticktext": [f"{tick:.4g}" for tick in ticks],
    }  # fmt: skip
    return _figure(traces, axis)


def against_metric(named: Sequence[Network], metric: str, title: str, front: bool) -> Figure | None:
    """Accuracy of each network, method and sparsity over another metric; with the Pareto front of those that no other
    beats in both. None where nothing has the metric."""
    traces = []
    all_points: list[tuple[float, float, str]] = []
    pairs = [(network, label) for network in named for label in network.labels]
    for i, (network, label) in enumerate(pairs):
        points = []
        for sparsity in network.sparsities:
            cell = network.at(label, sparsity)
            x, y = cell.estimate(metric), cell.estimate("accuracy/test", 100)
            if x is not None and y is not None:
                points.append((x.mean, cell, "dense" if sparsity == 0 else f"{100 * sparsity:.4g} %"))
                all_points.append((x.mean, y.mean, points[-1][2]))
        if points:
            name = f"{network.model} {label}" if len(named) > 1 else label
            trace = _trace(name, i, [x for x, _, _ in points], [cell for _, cell, _ in points])
            told = {"mode": "markers", "text": [text for *_, text in points]}
            traces.append(trace | told | {"hovertemplate": f"%{{text}}: {trace['hovertemplate']}"})
    if not traces:
        return None
    if front:
        traces.append(_front(all_points))
    return _figure(traces, {"title": {"text": title}, **_costs_axis([x for x, *_ in all_points])})


def _front(points: Sequence[tuple[float, float, str]]) -> dict[str, Any]:
    """The Pareto front, its points ringed and named: names at all points would lie over each other."""
    names = {(x, y): name for x, y, name in points}
    best = pareto([(x, y) for x, y, _ in points])
    return {
        "name": "Pareto front", "x": [x for x, _ in best], "y": [y for _, y in best], "mode": "lines+markers+text",
        "text": [names[point] for point in best], "textposition": "top center", "hoverinfo": "skip",
        "line": {"shape": "hv", "dash": "dot", "color": "#888888"},
        "marker": {"symbol": "circle-open", "size": 17, "color": "#888888", "line": {"width": 2}},
    }  # fmt: skip


def _costs_axis(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis with ticks at 1, 2 and 5 times the powers of ten, where the values lie that far apart."""
    lowest, highest = min(values), max(values)
    if lowest <= 0 or highest < 3 * lowest:
        return {"type": "linear", "rangemode": "tozero"}
    powers = range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1)
    ticks = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:,.10g}" for tick in ticks]}


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
            layers = [layer["name"] for layer in done[0]["layers"]]
            ratios = [[layer["keep_ratio"] for layer in result["layers"]] for result in done]
            rows.append([sum(column) / len(column) for column in zip(*ratios, strict=True)])
            names.append(f"{label} {100 * sparsity:.4g} %")
    if not rows:
        return None
    trace = {
        "type": "heatmap", "x": _distinct(layers), "y": _distinct(names), "z": rows,
        "zmin": 0, "zmax": 1, "colorscale": "Cividis", "colorbar": {"title": {"text": "kept"}},
        "hovertemplate": "%{y}<br>%{x}: %{z:.4f} kept<extra></extra>",
    }  # fmt: skip
    figure = _figure([trace], {"tickangle": -60, "automargin": True, "type": "category"})
    figure["layout"]["yaxis"] = {"autorange": "reversed", "automargin": True, "type": "category"}
    figure["layout"]["height"] = 180 + 24 * len(rows)
    return figure


def marker(place: int) -> dict[str, Any]:
    """The marker of the trace at a place among all: 64 are told apart."""
    symbol = MARKERS[(place + place // len(COLOURS)) % len(MARKERS)]
    return {"symbol": symbol, "color": COLOURS[place % len(COLOURS)], "size": 9}


def short(name: str, most: int = 40) -> str:
    """A name that a plot has room for: of a long one the beginning and the end, where names differ."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-most // 2 + 1 :]}"


def _distinct(names: Sequence[str]) -> list[str]:
    """Names of an axis, short where that leaves no two the same: plotly would lay these over each other."""
    cut = [short(name, 28) for name in names]
    return [escape(name if cut.count(own) > 1 else own) for name, own in zip(names, cut, strict=True)]


def _trace(label: str, place: int, x: Sequence[float], cells: Sequence[Cell], dash: str = "solid") -> dict[str, Any]:
    found = [cell.estimate("accuracy/test", 100) for cell in cells]
    means = [each.mean if each else None for each in found]
    bars = [each.half_width or 0.0 if each else 0.0 for each in found]
    colour = COLOURS[place % len(COLOURS)]
    seeds = [f"{each.seeds} seeds" if each else "" for each in found]
    return {
        "name": escape(short(label)), "x": list(x), "y": means, "mode": "lines+markers", "customdata": seeds,
        "error_y": {"type": "data", "array": bars, "thickness": 1.2},
        "marker": marker(place),
        "line": {"color": colour, "dash": dash},
        "hovertemplate": "%{y:.2f} % (%{customdata}) at %{x:.4~g}",
    }  # fmt: skip


def _figure(traces: Sequence[dict[str, Any]], x_axis: dict[str, Any]) -> Figure:
    return {
        "data": list(traces),
        "layout": {
            "xaxis": x_axis, "yaxis": {"title": {"text": ACCURACY}}, "height": 420,
            "margin": {"l": 60, "r": 20, "t": 30, "b": 60}, "legend": LEGEND,
        },
    }  # fmt: skip
