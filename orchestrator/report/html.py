"""Pieces of an HTML page. Everything that comes from a user is escaped here."""

from __future__ import annotations

import base64
import gzip
import importlib.util
import json
import re
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape, unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from orchestrator.report.values import values

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("theme.js", "tables.js", "plots.js", "curves.js")
SHORT = 18
"""Characters of a column's head that is not wrapped, less one."""
LONG = 45
"""Characters of a cell that is wrapped."""
TALL = 25
"""Rows of a table that scrolls within a window of its own, its head in sight."""


class Markup(str):
    """Text that is HTML already. What is put together from it is plain text again: it would be escaped once too often,
    never once too seldom."""

    __slots__ = ()


def page(title: str, body: Iterable[str]) -> str:
    """A whole page that needs no network, with its contents under its title. Its plots draw themselves; without
    scripts the rest stands."""
    pieces = list(body)
    script = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{(ASSETS / 'page.css').read_text(encoding='utf-8')}</style></head><body>",
            '<a class="skip" href="#main">Skip to the content</a>',
            f'<header><button type="button" class="theme" hidden></button><h1>{escape(title)}</h1></header>',
            _contents(pieces),
            '<main id="main" tabindex="-1">',
            *pieces,
            "</main>",
            f'<script type="application/octet-stream" id="plotly">{_plotly()}</script>',
            f"<script>(() => {{\n{script}}})();</script>",
            "</body></html>\n",
        ]
    )


def _contents(pieces: Sequence[str]) -> str:
    """A list of the headings that have an anchor; those of the third rank within theirs of the second."""
    groups: list[list[str]] = []
    for level, anchor, title in re.findall(r'<h([23]) id="([^"]*)">(.*?)</h\1>', "\n".join(pieces)):
        entry = f'<a href="#{fragment(unescape(anchor))}">{title}</a>'
        if level == "2" or not groups:
            groups.append([entry])
        else:
            groups[-1].append(entry)
    if not groups:
        return ""
    inner = ["".join(f"<li>{entry}</li>" for entry in own) for _, *own in groups]
    lines = [
        f"<li>{own[0]}{f'<ul>{nested}</ul>' if nested else ''}</li>" for own, nested in zip(groups, inner, strict=True)
    ]
    return f'<nav aria-label="Contents"><ul>{"".join(lines)}</ul></nav>'


def fragment(anchor: str) -> str:
    """An element's id as the fragment of a URL."""
    return quote(anchor, safe="")


@cache
def _plotly() -> str:
    """plotly.js, packed: 2 MB instead of 5."""
    package = importlib.util.find_spec("plotly")  # not imported: that takes seconds
    assert package is not None  # Jackpot requires it
    assert package.origin is not None
    return packed((Path(package.origin).parent / "package_data" / "plotly.min.js").read_bytes())


def packed(content: bytes) -> str:
    """Bytes for a script of the page to unpack; the same for the same ones."""
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()


def text(value: object) -> str:
    """A value as text of the page."""
    return escape(str(value))


def heading(title: str, level: int = 2, prefix: str = "") -> str:
    """A heading with an anchor, which puts it into the page's contents."""
    anchor = prefix + re.sub(r"\W+", "-", title.lower()).strip("-")
    return f'<h{level} id="{escape(anchor)}">{escape(title)}</h{level}>'


def link(shown: object, address: str, kind: str = "") -> Markup:
    """A link. The address is one already, of plain ASCII."""
    return Markup(f'<a{_classes(kind)} href="{escape(address)}">{escape(str(shown))}</a>')


def joined(between: str, pieces: Iterable[str]) -> Markup:
    """Texts and links in a line, with a plain text between them."""
    return Markup(escape(between).join(_cell(piece) for piece in pieces))


def _cell(value: str) -> str:
    return value if isinstance(value, Markup) else escape(value)


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    caption: str,
    left: Sequence[int] = (),
    anchors: Sequence[str] = (),
    choose: dict[int, str] = {},  # noqa: B006
) -> str:
    """A table of texts and links that scrolls by itself; the first column and the columns `left` hold words. `anchors`
    are the ids of its rows. `choose`: columns by whose values a reader may filter, "alike" for those in which a mean's
    trials agree."""
    asked = {i: f' data-choose="{value}"' for i, value in choose.items()}
    heads = "".join(
        f'<th scope="col"{_classes("text" if i in left else "", "short" if len(name) < SHORT else "")}'
        f"{asked.get(i, '')}>{escape(name)}</th>"
        for i, name in enumerate(head)
    )
    lines = []
    for place, (first, *others) in enumerate(rows):
        anchor = f' id="{escape(anchors[place])}"' if anchors else ""
        cells = "".join(
            f"<td{_classes('text', _long(cell)) if i in left else ''}>{_cell(cell)}</td>"
            for i, cell in enumerate(others, 1)
        )
        lines.append(f'<tr{anchor}><th scope="row"{_classes(_long(first))}>{_cell(first)}</th>{cells}</tr>')
    return (
        f'<div class="wide{" tall" if len(lines) > TALL else ""}" role="group" tabindex="0" '
        f'aria-label="{escape(caption)}"><table><caption><span>{escape(caption)}</span></caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _classes(*names: str) -> str:
    given = " ".join(name for name in names if name)
    return f' class="{given}"' if given else ""


def _long(cell: str) -> str:
    """The class of a cell that is wrapped."""
    shown = re.sub("<[^>]*>", "", cell) if isinstance(cell, Markup) else cell
    return "long" if len(shown) > LONG else ""


def facts(rows: Iterable[tuple[str, str]], caption: str) -> str:
    """A table of names and what they stand for."""
    lines = "".join(
        f'<tr><th scope="row"{_classes(_long(name))}>{escape(name)}</th><td class="text">{_cell(value)}</td></tr>'
        for name, value in rows
    )
    return f'<table class="facts"><caption><span>{escape(caption)}</span></caption><tbody>{lines}</tbody></table>'


def plot(figure: dict[str, Any], label: str) -> str:
    """A plot, drawn where scripts run, and its values as a table."""
    content = json.dumps(figure).replace("<", "\\u003c")  # no name may end the script
    head, rows, left = values(figure)
    return (
        f'<div class="plot" role="img" aria-label="{escape(label)}"><div></div>'
        f'<script type="application/json">{content}</script></div>'
        + behind("The values of this plot", table(head, rows, f"values: {label}", left=left))
    )


def listed(items: Iterable[str]) -> str:
    """A list of texts."""
    return "<ul>" + "".join(f"<li>{_cell(item)}</li>" for item in items) + "</ul>"


def folded(summary: str, content: str) -> str:
    """Plain text behind a line to click."""
    return behind(summary, f'<pre tabindex="0">{escape(content)}</pre>')


def behind(summary: str, piece: str) -> str:
    """A piece of the page behind a line to click."""
    return f"<details><summary>{escape(summary)}</summary>{piece}</details>"
