"""The values of a plot as a table: for who cannot see it, and for who wants the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import unescape
from typing import Any

Table = tuple[Sequence[str], list[list[str]], Sequence[int]]
"""Head, rows, the columns of words."""


def values(figure: dict[str, Any]) -> Table:
    """What a figure of plotly's shows, in the order it is drawn. Names in it are escaped, for plotly takes tags for
    tags; they are plain here."""
    traces = figure["data"]
    kind = traces[0].get("type", "scatter")
    if kind == "heatmap":
        return _grid(traces[0])
    if kind == "parcoords":
        return _columns(traces[0])
    x, y = (_title(figure["layout"], axis) for axis in ("xaxis", "yaxis"))
    rows = [row for trace in traces if trace.get("hoverinfo") != "skip" for row in _points(trace)]
    return ("drawn as", x, y, "±"), rows, ()


def _title(layout: dict[str, Any], axis: str) -> str:
    return unescape(layout.get(axis, {}).get("title", {}).get("text", "")) or axis[0]


def _points(trace: dict[str, Any]) -> Iterator[list[str]]:
    bars = trace.get("error_y", {}).get("array", [])
    for i, (x, y) in enumerate(zip(trace["x"], trace["y"], strict=True)):
        yield [unescape(trace["name"]), said(x), said(y), said(bars[i]) if i < len(bars) and bars[i] else ""]


def _grid(trace: dict[str, Any]) -> Table:
    rows = [[unescape(name), *map(said, row)] for name, row in zip(trace["y"], trace["z"], strict=True)]
    return ["drawn as", *map(unescape, trace["x"])], rows, ()


def _columns(trace: dict[str, Any]) -> Table:
    columns = [[said(value) for value in dimension["values"]] for dimension in trace["dimensions"]]
    rows = [[str(i), *row] for i, row in enumerate(zip(*columns, strict=True))]
    return ["line", *(unescape(dimension["label"]) for dimension in trace["dimensions"])], rows, ()


def said(value: object) -> str:
    """A number to five digits; a name as it is; nothing for None."""
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, int | float) else unescape(str(value))
