"""Pieces of an HTML page. Everything that comes from a user is escaped here."""

from __future__ import annotations

import base64
import gzip
import importlib.util
import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #8888; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1100px; padding: 1rem; }
h1, h2, h3 { line-height: 1.2; margin: 1.6em 0 .5em; }
h1 { margin-top: .3em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .3em 0; }
th, td { border-bottom: 1px solid var(--line); padding: .25em .7em; text-align: right; vertical-align: top; }
td { white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
td.text, th.text { text-align: left; white-space: normal; }
.wide { overflow-x: auto; }
.plot { min-height: 200px; }
.bad { font-weight: 600; }
pre { overflow-x: auto; border: 1px solid var(--line); padding: .7em; }
small, .note { color: GrayText; }
"""

SCRIPT = """
(async () => {
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), c => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const draw = () => {
    const colour = dark.matches ? "#ddd" : "#222", grid = dark.matches ? "#444" : "#ddd";
    for (const place of document.querySelectorAll(".plot")) {
      const figure = JSON.parse(place.querySelector("script").textContent);
      const axis = {gridcolor: grid, zerolinecolor: grid};
      const layout = {...figure.layout, paper_bgcolor: "transparent", plot_bgcolor: "transparent",
        font: {color: colour, family: "system-ui, sans-serif"},
        xaxis: {...axis, ...figure.layout.xaxis}, yaxis: {...axis, ...figure.layout.yaxis}};
      Plotly.react(place.querySelector("div"), figure.data, layout, {responsive: true, displaylogo: false});
    }
  };
  draw();
  dark.addEventListener("change", draw);
})();
"""


def page(title: str, body: Iterable[str]) -> str:
    """A whole page that needs no network. Its plots draw themselves; without scripts the rest stands."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
            *body,
            f'<script type="application/octet-stream" id="plotly">{_plotly()}</script>',
            f"<script>{SCRIPT}</script>",
            "</body></html>\n",
        ]
    )


def _plotly() -> str:
    """plotly.js, gzipped, as base64: 2 MB instead of 5."""
    package = importlib.util.find_spec("plotly")  # not imported: that takes seconds
    assert package is not None  # Jackpot requires it
    assert package.origin is not None
    source = Path(package.origin).parent / "package_data" / "plotly.min.js"
    return base64.b64encode(gzip.compress(source.read_bytes(), 6, mtime=0)).decode()


def text(value: object) -> str:
    """A value as text of the page."""
    return escape(str(value))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", left: Sequence[int] = ()) -> str:
    """A table of plain texts; the columns `left` hold words."""
    kind = dict.fromkeys(left, ' class="text"')
    cells = "".join(f'<th scope="col"{kind.get(i, "")}>{escape(name)}</th>' for i, name in enumerate(head))
    lines = [
        "<tr>" + "".join(f"<td{kind.get(i, '')}>{escape(cell)}</td>" for i, cell in enumerate(row)) + "</tr>"
        for row in rows
    ]
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide"><table>{named}<thead><tr>{cells}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )


def plot(figure: dict[str, Any], label: str) -> str:
    """A plot, drawn where scripts run."""
    content = json.dumps(figure).replace("<", "\\u003c")  # no name may end the script
    return (
        f'<div class="plot" role="img" aria-label="{escape(label)}"><div></div>'
        f'<script type="application/json">{content}</script></div>'
    )


def listed(items: Iterable[str]) -> str:
    """A list of plain texts."""
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def folded(summary: str, content: str) -> str:
    """Plain text behind a line to click."""
    return behind(summary, f"<pre>{escape(content)}</pre>")


def behind(summary: str, piece: str) -> str:
    """A piece of the page behind a line to click."""
    return f"<details><summary>{escape(summary)}</summary>{piece}</details>"
