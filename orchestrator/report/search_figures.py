"""The plots of a search, as plotly's JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape  # plotly takes tags in a label for tags
from typing import Any

from orchestrator.report.figures import COLOURS, MARKERS, Figure
from orchestrator.report.search import Layers, Proposal, Searched, scaled, title

# both ends can be seen on a light page and on a dark one, and are told apart by the colour-blind
SCALE = [[0.0, COLOURS[0]], [1.0, COLOURS[1]]]
MOST_AXES = 60
"""Of plotly's parallel coordinates."""


def history(searched: Searched) -> Figure | None:
    """The first objective of each proposal by its number, warm starts marked with their names, and the best so far.
    None where no proposal has a value."""
    if not searched.scored:
        return None
    metric, best = searched.metrics[0], _better(searched, 0)
    values = [scaled(metric, p["values"][0]) for p in searched.scored]
    so_far = [values[0]]
    for value in values[1:]:
        so_far.append(best(so_far[-1], value))
    numbers = [p["number"] for p in searched.scored]
    line = {
        "name": "best so far", "x": numbers, "y": so_far, "mode": "lines", "hoverinfo": "skip",
        "line": {"shape": "hv", "color": "#888888"},
    }  # fmt: skip
    points = _points(searched, lambda p: (p["number"], scaled(metric, p["values"][0])))
    return _figure([line, *points], {"title": {"text": "proposal"}}, escape(title(metric)))


def objectives(searched: Searched) -> Figure | None:
    """Every proposal by its two objectives, the Pareto front marked. None for one objective, or without a value."""
    if len(searched.metrics) < 2 or not searched.scored:
        return None
    first, second = searched.metrics[:2]

    def place(p: Proposal) -> tuple[float, float]:
        return scaled(second, p["values"][1]), scaled(first, p["values"][0])

    front = sorted((place(p), p["number"]) for p in searched.scored if p["number"] in searched.summary["pareto"])
    marked = {
        "name": "Pareto front", "x": [x for (x, _), _ in front], "y": [y for (_, y), _ in front],
        "mode": "lines+markers", "customdata": [number for _, number in front],
        "line": {"dash": "dot", "color": "#888888"},
        "marker": {"symbol": "circle-open", "size": 16, "color": COLOURS[5], "line": {"width": 2}},
        "hovertemplate": "proposal %{customdata}: %{y:.5g} at %{x:.5g}",
    }  # fmt: skip
    return _figure(
        [*_points(searched, place), marked], {"title": {"text": escape(title(second))}}, escape(title(first))
    )


def importances(searched: Searched) -> Figure | None:
    """How much of an objective's variance each coordinate explains, a bar a coordinate and objective; the most
    important of the first objective on top. None where there were too few trials to say."""
    known = [(m, own) for m, own in zip(searched.metrics, searched.summary["importances"], strict=False) if own]
    if not known:
        return None
    names = sorted(known[0][1], key=lambda name: known[0][1][name])
    traces = [
        {
            "name": escape(title(metric)), "type": "bar", "orientation": "h", "x": [own.get(name) for name in names],
            "y": [escape(name) for name in names], "marker": {"color": COLOURS[i % len(COLOURS)]},
            "hovertemplate": "%{y}: %{x:.3f}",
        }
        for i, (metric, own) in enumerate(known)
    ]  # fmt: skip
    figure = _figure(traces, {"title": {"text": "importance"}, "rangemode": "tozero"}, "")
    figure["layout"]["yaxis"] = {"automargin": True, "type": "category"}
    figure["layout"]["height"] = 170 + 26 * len(names) * len(traces)
    return figure


def parallel(searched: Searched) -> Figure | None:
    """Parallel coordinates: an axis a layer, its keep ratio as a power of ten, and one for the first objective, whose
    value colours the lines. Of a network with more layers than plotly has axes, every n-th. None without a value."""
    rows = [(p, searched.layers[p["number"]]) for p in searched.scored if p["number"] in searched.layers]
    if not rows:
        return None
    names = [layer["name"] for layer in rows[0][1]]
    rows = [(p, layers) for p, layers in rows if [layer["name"] for layer in layers] == names]
    step = math.ceil(len(names) / (MOST_AXES - 1))
    columns = {names[i]: [math.log10(kept(layers[i])) for _, layers in rows] for i in range(0, len(names), step)}
    lowest = min(-1, math.floor(min(min(column) for column in columns.values())))
    powers = list(range(lowest, 1))
    ticks = {"tickvals": powers, "ticktext": [f"{100 * 10**power:g} %" for power in powers], "range": [lowest, 0]}
    metric = searched.metrics[0]
    values = [scaled(metric, p["values"][0]) for p, _ in rows]
    trace = {
        "type": "parcoords", "labelangle": -40,
        "dimensions": [
            *({"label": escape(name), "values": column, **ticks} for name, column in columns.items()),
            {"label": escape(title(metric)), "values": values},
        ],
        "line": {"color": values, "colorscale": SCALE, "showscale": True},
    }  # fmt: skip
    return {"data": [trace], "layout": {"height": 480, "margin": {"l": 60, "r": 60, "t": 150, "b": 30}}}


def profile(searched: Searched) -> Figure | None:
    """The keep ratio of every layer of the best searched ratio and of each formula at its sparsity: of the trials that
    were tested (mean over seeds), or else of the proposals. None before there is a best one."""
    best = list(searched.finalists.values())[:1] or searched.summary["best"][:1]
    proposal = searched.proposal(best[0]) if best else None
    if proposal is None:
        return None
    label = next((label for label, number in searched.finalists.items() if number == best[0]), None)
    sparsity = searched.sparsity_of(label) if label else proposal["sparsity"]
    lines = {f"searched ratio {best[0]}": _ratios(searched, label, sparsity, proposal)}
    for name, arm in searched.summary["formulas"].items():
        same = (p for p in searched.scored if p["source"] == name and p["sparsity"] == sparsity)
        lines[name] = _ratios(searched, arm, sparsity, next(same, None))
    traces = [
        {
            "name": escape(name), "x": [escape(layer) for layer in ratios], "mode": "lines+markers",
            "y": [100 * ratio for ratio in ratios.values()],
            "line": {"color": COLOURS[i % len(COLOURS)], "width": 2 if i else 3},
            "marker": {"symbol": MARKERS[i % len(MARKERS)], "color": COLOURS[i % len(COLOURS)], "size": 8},
            "hovertemplate": "%{x}: %{y:.4g} % kept",
        }
        for i, (name, ratios) in enumerate(lines.items())
        if ratios
    ]  # fmt: skip
    if not traces:
        return None
    figure = _figure(traces, {"type": "category", "tickangle": -60, "automargin": True}, "weights kept, %")
    figure["layout"]["yaxis"] |= {"type": "log", "dtick": "D2"}  # ticks at 1, 2, 5, 10, ...
    return figure


def kept(layer: Mapping[str, Any]) -> float:
    """A layer's keep ratio for a logarithmic axis: one that keeps nothing stands at half a weight."""
    return max(layer["kept"], 0.5) / layer["weights"]


def _ratios(searched: Searched, label: str | None, sparsity: float, proposal: Proposal | None) -> dict[str, float]:
    tickets: list[Layers] = [r["layers"] for r in searched.network.at(label, sparsity).done] if label else []
    if not tickets and proposal and proposal["number"] in searched.layers:
        tickets = [searched.layers[proposal["number"]]]
    found: dict[str, list[float]] = {}
    for layers in tickets:
        for layer in layers:
            found.setdefault(layer["name"], []).append(kept(layer))
    return {name: sum(ratios) / len(ratios) for name, ratios in found.items()}


def _better(searched: Searched, objective: int) -> Callable[[float, float], float]:
    return max if searched.summary["objectives"][objective]["goal"] == "max" else min


def _points(searched: Searched, place: Callable[[Proposal], tuple[float, float]]) -> list[dict[str, Any]]:
    """A trace of the sampler's proposals, and one of the warm starts with their names."""
    sampler = searched.summary["sampler"]["name"]
    traces = []
    for warm in (False, True):
        own = [p for p in searched.scored if (p["source"] != sampler) == warm]
        colour = COLOURS[5 if warm else 0]
        if own:
            trace = {
                "name": "warm starts" if warm else escape(f"proposed by {sampler}"),
                "x": [place(p)[0] for p in own], "y": [place(p)[1] for p in own],
                "mode": "markers+text" if warm else "markers", "customdata": [p["number"] for p in own],
                "marker": {"symbol": "diamond" if warm else "circle", "color": colour, "size": 11 if warm else 7},
                "hovertemplate": "proposal %{customdata}: %{y:.5g}",
            }  # fmt: skip
            named = {"text": [escape(p["source"]) for p in own], "textposition": "top center"} if warm else {}
            traces.append(trace | named)
    return traces


def _figure(traces: Sequence[dict[str, Any]], x_axis: dict[str, Any], y_title: str) -> Figure:
    return {
        "data": list(traces),
        "layout": {
            "xaxis": x_axis, "yaxis": {"title": {"text": y_title}}, "height": 420,
            "margin": {"l": 70, "r": 20, "t": 40, "b": 60},
            "legend": {"orientation": "h", "y": 1, "yanchor": "bottom"},  # below, long names of layers would cross it
        },
    }  # fmt: skip
