"""The search in report.html and as a page of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser import barriers, chromium, opened, shot
from reports import EVIL
from searches import FINALIST, PROPOSALS, folder_of, proposal, summary
from test_page import words

from orchestrator.engine.folder import SweepFolder
from orchestrator.report.page import write_report
from orchestrator.report.search_page import facts, trusted

TESTED: dict[str, list[float | None]] = {
    "hybrid-searched1": [0.93, 0.94, 0.95], "hybrid-uniform": [0.9, 0.912, 0.918], "hybrid-erk": [0.88, 0.9, None],
}  # fmt: skip
TWO = {
    "objectives": [{"metric": "accuracy/val", "goal": "max"}, {"metric": "macs", "goal": "min"}],
    "hypervolume": {"reference": [0.0, 1.2e6], "value": 0.125},
    "importances": [{"power": 0.7, "classifier": 0.3}, {"power": 0.2, "classifier": 0.8}],
    "coordinates": {"power": [0, 4], "classifier": [0.1, 1.0]},
}
RUNGS = {
    "rungs": [
        {"epochs": 0.0, "reached": 6, "stopped": 3, "epochs_spent": 0.0},
        {"epochs": 2.0, "reached": 3, "stopped": 1, "epochs_spent": 6.0},
        {"epochs": 10.0, "reached": 2, "stopped": 0, "epochs_spent": 16.0},
    ],
    "rank_correlation": [[1.0, 0.9, 0.75], [0.9, 1.0, None], [0.75, None, 1.0]],
}


@pytest.fixture
def both(tmp_path: Path) -> SweepFolder:
    """Two objectives, and rungs."""
    rows = [p | {"values": [*p["values"], 1e5 * p["number"]]} if p["values"] else p for p in PROPOSALS]
    rows += [proposal(6 + i, None, status="dropped", rungs=[{"epochs": 0.0, "accuracy": 0.3}]) for i in range(8)]
    rows.append(proposal(14, None, status="missing"))
    content = summary(rows, best=[3, 0], pareto=[0, 3], finalists=FINALIST, fidelity=RUNGS, **TWO)
    return folder_of(tmp_path / "made-up", content, TESTED)


def test_the_page_says_what_was_searched_and_what_came_out(both: SweepFolder) -> None:
    shown = words(write_report([both]))
    for part in (
        "net: does a searched ratio beat the formulas?",
        "searched ratio 3 beats the best formula uniform in accuracy by +3.00 ± 0.50 points (3 seeds, p by Holm ",
        "they are biased upwards and are not the result",
        "95 % removed in every trial: of weights exactly",
        "accuracy/val as high as possible, macs as low as possible",
        "polynomial (degree 2)",
        "power 0 to 4, classifier 0.1 to 1",
        "15, at most 2 at a time; 1 diverged, 5 done, 8 stopped early, 1 missing",
        "0.125, from the reference point (0, 1.2e+06)",
        "0 epochs 6 3 0 1.00 0.90 0.75",
        "All 15 proposals",
        "3 tpe done 95 % 96.00 300,000 3",
        "The search stopped 8 trials early, at a cheap rung: they did not fail.",
    ):
        assert part in shown, part
    assert shown.index("does a searched ratio beat") < shown.index("net: test accuracy")
    assert "net_hybrid-search6_s95_seed0 dropped" not in shown
    assert "hybrid-search3" not in shown[: shown.rindex("All trials")], "no proposal stands in a table of methods"
    assert "net_hybrid-search4_s95_seed0 diverged" in shown


def test_what_was_searched_leads_to_its_trials(both: SweepFolder) -> None:
    text = write_report([both]).read_text()
    assert '<a class="alike" href="#trial-net_hybrid-searched1_s0.95_seed100">hybrid-searched1</a>' in text
    assert '<a href="#trial-net_hybrid-search3_s95_seed0">3</a>' in text, "a proposal to its trial"
    own = (both.path / "search" / "search.html").read_text()
    assert '<a href="../report.html#trial-net_hybrid-search3_s95_seed0">3</a>' in own, "on the page that has its row"


def test_the_search_has_a_page_of_its_own(both: SweepFolder) -> None:
    write_report([both])
    shown = words(both.path / "search" / "search.html")
    assert "searched ratio 3 beats the best formula uniform" in shown
    assert "test accuracy in %: mean ± half of the 95 % t interval (seeds)" in shown


def test_the_same_results_give_the_same_files(both: SweepFolder) -> None:
    pages = [both.path / "report.html", both.path / "search" / "search.html"]
    write_report([both])
    first = [page.read_bytes() for page in pages]
    write_report([both])
    assert [page.read_bytes() for page in pages] == first


def test_half_a_search_has_a_page(tmp_path: Path) -> None:
    contents: list[dict[str, Any]] = [
        summary([]),
        summary([proposal(0, None, status="missing")], best=[]),
        summary([proposal(0, None, status="failed"), proposal(1, None, status="blocked")], best=[], importances=[]),
        summary(PROPOSALS, best=[3], finalists=FINALIST),
    ]
    for i, content in enumerate(contents):
        shown = words(write_report([folder_of(tmp_path / str(i), content, {})]))
        assert ("no finalists yet" in shown) == (i < 3)
        assert "Too few trials to tell which coordinates mattered" in shown


def test_nothing_of_a_user_is_taken_for_html(tmp_path: Path) -> None:
    rows = [proposal(0, [0.5], EVIL, params={EVIL: 1.0}), proposal(1, [0.6], params={EVIL: EVIL})]
    content = summary(
        rows, model="net", method=EVIL, space={"name": EVIL, EVIL: EVIL}, coordinates={EVIL: [0, 1]},
        sampler={"name": "tpe", "why": EVIL}, importances=[{EVIL: 1.0}], formulas={EVIL: EVIL},
        objectives=[{"metric": EVIL, "goal": "max"}], finalists=[{"number": 1, "label": "hybrid-searched1"}],
    )  # fmt: skip
    folder = folder_of(tmp_path, content, {"hybrid-searched1": [0.5, 0.6], "hybrid-uniform": [0.5, 0.5]})
    for page in (write_report([folder]), folder.path / "search" / "search.html"):
        text = page.read_text()
        assert "alert(1)</script>" not in text
        plots = re.findall(r'<script type="application/json">(.*?)</script>', text, flags=re.DOTALL)
        assert len(plots) >= 4
        assert not [plot for plot in plots if "\\u003cscript" in plot], "escaped, for plotly takes tags for tags"


def test_a_range_of_sparsities_is_said_as_one() -> None:
    said = dict(facts(summary([], sparsity=[0.9, 0.98])))
    assert said["budget"].startswith("90 % to 98 % removed in every trial")
    assert said["trials"] == "0, at most 2 at a time; none yet"


def test_whether_a_cheap_rung_can_be_trusted() -> None:
    assert trusted("0 epochs", 0.7, "10 epochs").endswith("a correlation of 0.70, high: it can be trusted here.")
    assert "middling: stop few trials" in trusted("0 epochs", 0.69, "10 epochs")
    assert "low: it cannot be trusted" in trusted("0 epochs", -0.2, "10 epochs")
    assert "too few trials reached both" in trusted("0 epochs", None, "10 epochs")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws_the_plots_without_a_network(
    both: SweepFolder, scheme: str, needs_system: Callable[[bool, str], None]
) -> None:
    pages = [write_report([both]), both.path / "search" / "search.html"]
    with chromium(needs_system) as browser:
        for file, width in zip(pages, (1280, 390), strict=True):
            with opened(browser, file, width, scheme) as page:
                assert page.locator(".plot > script").count() >= 5
                page.wait_for_function("document.querySelectorAll('.plot .parcoords .y-axis').length == 3")
                shot(page, f"{file.stem}-of-a-search-{scheme}-{width}")
                assert barriers(page) == []
