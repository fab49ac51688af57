"""The pieces of a page."""

from __future__ import annotations

import re

from reports import result

from orchestrator.report import html
from orchestrator.report.cells import networks
from orchestrator.report.figures import layer_profile
from orchestrator.report.values import values

NAME = 'a "b" <i>&amp;</i>/ß' + "x" * 300


def test_a_table_escapes_texts_and_keeps_links() -> None:
    made = html.table(("method", "n"), [(NAME, html.link("<3>", "#a%22b", "alike"))], NAME)
    assert "<i>" not in made
    assert made.count("a &quot;b&quot; &lt;i&gt;&amp;amp;&lt;/i&gt;/ß") == 3, "the row, the caption, the place's label"
    assert '<a class="alike" href="#a%22b">&lt;3&gt;</a>' in made
    assert '<th scope="row" class="long">' in made, "a name of 300 characters is wrapped"
    assert '<th scope="col" class="short">method</th>' in made


def test_markup_that_was_added_to_is_plain_text_again() -> None:
    assert html.listed([html.link("x", "#x") + "<b>"]) == (
        "<ul><li>&lt;a href=&quot;#x&quot;&gt;x&lt;/a&gt;&lt;b&gt;</li></ul>"
    )
    assert html.joined("<", ["&", html.link("x", "#x")]) == '&amp;&lt;<a href="#x">x</a>'


def test_rows_have_anchors_and_columns_say_what_a_reader_may_choose() -> None:
    made = html.table(("trial", "method", "n"), [("t", "m", "1")], "c", (1,), ['t "1"'], {1: "alike"})
    assert '<tr id="t &quot;1&quot;">' in made
    assert '<th scope="col" class="text short" data-choose="alike">method</th>' in made
    assert '<td class="text">m</td><td>1</td>' in made
    assert 'tall"' not in made
    assert 'class="wide tall"' in html.table(("a",), [("1",)] * (html.TALL + 1), "c")


def test_the_contents_nest_what_has_an_anchor() -> None:
    pieces = [html.heading("One", 2), html.heading("In & one", 3, "s2-"), "<h3>left out</h3>", html.heading("Zwölf", 2)]
    page = html.page("t", pieces)
    found = re.search(r'<nav aria-label="Contents">(.*?)</nav>', page)
    assert found is not None
    assert found[1] == (
        '<ul><li><a href="#one">One</a><ul><li><a href="#s2-in-one">In &amp; one</a></li></ul></li>'
        '<li><a href="#zw%C3%B6lf">Zwölf</a></li></ul>'
    )
    assert "<nav" not in html.page("t", ["<p>nothing to list</p>"])


def test_a_plot_has_its_values_as_a_table() -> None:
    line = {"name": "a &lt;b&gt;", "x": [1, 2], "y": [0.5, None], "error_y": {"array": [0.25, 0.0]}}
    skipped = {"name": "front", "x": [1], "y": [1], "hoverinfo": "skip"}
    layout = {"xaxis": {"title": {"text": "kept, %"}}, "yaxis": {"title": {"text": "accuracy"}}}
    head, rows, _ = values({"data": [line, skipped], "layout": layout})
    assert head == ("drawn as", "kept, %", "accuracy", "±")
    assert rows == [["a <b>", "1", "0.5", "0.25"], ["a <b>", "2", "", ""]]
    assert "<td>0.25</td>" in html.plot({"data": [line], "layout": layout}, "a plot")


def test_a_heat_map_and_parallel_coordinates_are_tables_too() -> None:
    grid = {"type": "heatmap", "x": ["conv"], "y": ["snip 90 %"], "z": [[0.123456]]}
    assert values({"data": [grid], "layout": {}})[:2] == (["drawn as", "conv"], [["snip 90 %", "0.12346"]])
    lines = {"type": "parcoords", "dimensions": [{"label": "conv", "values": [-1.0]}, {"label": "best", "values": [9]}]}
    assert values({"data": [lines], "layout": {}})[:2] == (["line", "conv", "best"], [["0", "-1", "9"]])


def test_layers_that_differ_in_the_middle_of_their_names_are_columns_of_their_own() -> None:
    names = [f"features.denseblock{i}.denselayer12.conv1" for i in (3, 4)] + ["x" * 300]
    layers = [{"name": name, "weights": 10, "kept": 1, "keep_ratio": 0.1} for name in names]
    (network,) = networks([result("a", 0.9, 0, 0.5, layers=layers)])
    figure = layer_profile(network)
    assert figure is not None
    assert figure["data"][0]["x"] == [*names[:2], "x" * 14 + "…" + "x" * 13]
