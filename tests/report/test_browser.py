"""report.html in a browser without a network: what a reader does with it, and that nothing is in anyone's way."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import barriers, chromium, drawn, opened, shot
from reports import EVIL, folder_of, history, result, sweep

from orchestrator.report.page import write_report

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("report in a browser")]
LONG = "a-method-of-a-very-long-name" * 11
ODD = "größe/λ <b>&amp;</b>"


@pytest.fixture(scope="module")
def browser(needs_system: Callable[[bool, str], None]) -> Iterator[Any]:
    with chromium(needs_system) as found:
        yield found


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a half-finished sweep, with all that makes a page hard."""
    rows = sweep(
        {("dense", 0.0): [0.99, 0.98], ("good", 0.9): [0.9, 0.95, 0.91], ("poor", 0.9): [0.5, None, 0.53],
         ("good", 0.98): [0.8, 0.81, 0.85], ("poor", 0.98): [0.4, 0.45, 0.41], (ODD, 0.9): [0.7, 0.72]}
    )  # fmt: skip
    rows.append(result(LONG, 0.9, 0, 0.6, trial=f"net_{LONG[:180]}_s90_seed0"))
    error = {"type": "OutOfMemoryError", "message": EVIL, "traceback": f"Traceback:\n  {EVIL}"}
    rows.append(result("broken", 0.9, 0, None, error=error, status="failed"))
    for i, row in enumerate(rows):
        row["history"] = history(5, i)
        row["metrics"] |= {"latency/ms/b1": 2.0 - 0.1 * i, "cost/epochs": 10 * (1 + i % 3)} if row["metrics"] else {}
    folder = folder_of(tmp_path_factory.mktemp("report") / "made-up", rows, missing=["net_good_s90_seed3"])
    return write_report([folder])


def column(table: Any, place: int) -> list[str]:
    """The texts of a column's rows that are shown."""
    return [row.locator("th, td").nth(place).inner_text() for row in table.locator("tbody tr:visible").all()]


def all_trials(page: Any) -> Any:
    return page.locator("table").filter(has_text="All trials;")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_stands_without_a_network_and_in_nobodys_way(browser: Any, page_file: Path, width: int, scheme: str) -> None:
    with opened(browser, page_file, width, scheme) as page:
        shot(page, f"report-{scheme}-{width}")
        for summary in page.locator("summary").all():
            if summary.is_visible():
                summary.click()
        page.wait_for_selector("details.curves .main-svg")
        shot(page, f"report-unfolded-{scheme}-{width}")
        assert barriers(page) == []


def test_its_headings_are_in_order_and_its_contents_lead_to_them(browser: Any, page_file: Path) -> None:
    with opened(browser, page_file) as page:
        levels = [int(tag[1]) for tag in page.locator("h1, h2, h3, h4").evaluate_all("all => all.map(h => h.tagName)")]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
        entries = page.locator("nav a")
        assert entries.count() == page.locator("h2").count()
        entries.filter(has_text="All trials").click()
        page.wait_for_function("document.querySelector(':target')?.textContent === 'All trials'")
        page.keyboard.press("Home")


def test_the_keyboard_alone_reaches_and_sorts_a_table(browser: Any, page_file: Path) -> None:
    with opened(browser, page_file) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        shot(page, "report-skip-link-in-focus", whole=False)
        table = all_trials(page)
        head = table.locator("thead th").nth(6)
        head.get_by_role("button").focus()
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "ascending"
        numbers = [float(text) for text in column(table, 6) if text]
        assert len(numbers) == 16
        assert numbers == sorted(numbers)
        page.keyboard.press("Space")
        assert head.get_attribute("aria-sort") == "descending"
        assert [float(text) for text in column(table, 6) if text] == sorted(numbers, reverse=True)
        assert column(table, 6)[-3:] == ["", "", ""], "what has no value is last, whichever way"


def test_a_click_sorts_words_and_one_column_at_a_time(browser: Any, page_file: Path) -> None:
    with opened(browser, page_file) as page:
        table = all_trials(page)
        status, seed = table.locator("thead th").nth(5), table.locator("thead th").nth(4)
        status.get_by_role("button").click()
        assert column(table, 5) == sorted(column(table, 5))
        seed.get_by_role("button").click()
        assert (status.get_attribute("aria-sort"), seed.get_attribute("aria-sort")) == (None, "ascending")
        assert column(table, 4) == sorted(column(table, 4))


def test_rows_are_filtered_by_text_and_by_a_columns_values(browser: Any, page_file: Path) -> None:
    with opened(browser, page_file) as page:
        controls = page.locator(".controls").filter(has_text="status")
        controls.get_by_label("Filter rows by text").fill("GOOD_s0.98")
        assert column(all_trials(page), 2) == ["good"] * 3
        assert controls.locator("output").inner_text() == "3 of 19 rows"
        controls.get_by_label("Filter rows by text").fill("")
        controls.get_by_label("status").select_option(label="diverged")
        assert column(all_trials(page), 5) == ["diverged"]
        all_trials(page).locator("thead th").nth(4).get_by_role("button").click()
        assert column(all_trials(page), 5) == ["diverged"], "sorting keeps the filter"
        controls.get_by_role("button", name="Show all").click()
        assert len(column(all_trials(page), 5)) == 19


def mean(page: Any) -> Any:
    """A mean in the table of accuracies; the table of winners has the same."""
    return page.get_by_role("group", name="net: test accuracy in %").get_by_role("link", name=re.compile(r"^92\.00 ±"))


def test_a_mean_leads_to_its_trials_and_a_trial_to_its_folder(browser: Any, page_file: Path) -> None:
    with opened(browser, page_file) as page:
        mean(page).click()
        table = all_trials(page)
        assert column(table, 0) == [*(f"net_good_s0.9_seed{seed}" for seed in range(3)), "net_good_s90_seed3"]
        assert table.locator("tr.marked").count() == 4, "the one that has not run too"
        assert page.evaluate("document.querySelector(':target').id") == "trial-net_good_s0.9_seed0"
        box = table.locator("tr:target").bounding_box()
        assert 0 <= box["y"] <= 900, "in sight"
        shot(page, "report-the-trials-of-a-mean", whole=False)
        address = table.locator("tbody tr:visible a").first.evaluate("link => link.href")
        assert address == (page_file.parent / "trials" / "net_good_s0.9_seed0").as_uri() + "/"
        page.locator("a", has_text=re.compile("^net_broken")).first.click()
        assert table.locator("tr:target").is_visible(), "a filter does not hide where a link leads"


def test_the_address_of_a_trial_leads_to_its_row(browser: Any, page_file: Path) -> None:
    with opened(browser, page_file, fragment="#trial-net_poor_s0.9_seed1") as page:
        assert "diverged" in page.locator("tr:target").inner_text()


def test_a_point_says_its_values(browser: Any, page_file: Path) -> None:
    with opened(browser, page_file) as page:
        page.locator(".plot .scatterlayer .point").first.hover(force=True)
        label = page.locator(".hoverlayer .hovertext").first
        label.wait_for()
        assert "seeds" in label.text_content()
        shot(page, "report-a-point-under-the-mouse", whole=False)


def test_curves_are_drawn_when_they_are_asked_for(browser: Any, page_file: Path) -> None:
    with opened(browser, page_file) as page:
        curves = page.locator("details.curves")
        assert curves.locator("svg").count() == 0
        curves.locator("summary").first.click()
        page.wait_for_selector("details.curves .scatterlayer .trace")
        assert curves.locator("output").inner_text() == "18 trials drawn"
        curves.get_by_label("Show").select_option(label="loss/train")
        curves.get_by_label("method").select_option(label="good")
        curves.get_by_label("sparsity").select_option(label="90 %")
        assert curves.locator("output").inner_text() == "3 trials drawn"
        page.wait_for_function("document.querySelectorAll('details.curves .scatterlayer .js-line').length === 3")
        assert curves.locator(".plot").get_attribute("aria-label").startswith("loss/train after each epoch")
        curves.locator("summary").nth(1).click()
        assert curves.locator(".values tbody tr").first.inner_text().split() == [
            "net_good_s0.9_seed0", "5", "0.202", "0.202", "1.002",
        ]  # fmt: skip
        shot(page, "report-training-curves", whole=False)


def test_the_theme_is_switched_and_the_plots_follow(browser: Any, page_file: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('.plot .xtick text')).fill"
    with opened(browser, page_file) as page:
        light = page.evaluate(ground), page.evaluate(ink)
        page.get_by_role("button", name="Switch to dark theme").click()
        page.wait_for_function(f"{ink} !== '{light[1]}'")
        assert page.evaluate(ground) != light[0]
        shot(page, "report-switched-to-dark")
        page.get_by_role("button", name="Switch to light theme").click()
        page.wait_for_function(f"{ink} === '{light[1]}'")
        assert page.evaluate(ground) == light[0]


def test_it_works_in_the_frame_that_mlflow_shows_artifacts_in(browser: Any, page_file: Path, tmp_path: Path) -> None:
    """From a blob, in a sandbox that lets nothing but scripts run: no storage, no folder beside it."""
    frame = tmp_path / "frame.html"
    content = page_file.read_text().replace("\\", "\\\\").replace("`", "\\`").replace("${", "\\${")
    content = content.replace("</script", "<\\/script")
    frame.write_text(
        "<!doctype html><title>MLflow</title><iframe title=report sandbox=allow-scripts width=1200 height=800></iframe>"
        f"<script>document.querySelector('iframe').src = URL.createObjectURL(new Blob([`{content}`], "
        "{type: 'text/html;charset=utf-8'}))</script>"
    )
    with opened(browser, frame) as page:
        inner = page.frame_locator("iframe")
        inner.locator(".plot .main-svg").first.wait_for()
        drawn(page.frames[1])  # all of them: what is being clicked must not move
        mean(inner).click()
        assert len(inner.locator("tr.marked:visible").all()) == 4
        assert inner.locator("a.folder").first.get_attribute("href") is None


def test_a_thousand_trials_are_sorted_whole_and_shown_by_parts(browser: Any, tmp_path: Path) -> None:
    rows = [result("some", 0.9, seed, (seed * 37 % 1000) / 1000) for seed in range(1000)]
    with opened(browser, write_report([folder_of(tmp_path / "many", rows)])) as page:
        table = all_trials(page)
        assert table.locator("tbody tr:visible").count() == 200
        table.locator("thead th").nth(6).get_by_role("button").click()
        shown = table.locator("tbody tr:visible td:nth-child(7)").all_inner_texts()
        assert shown == [f"{i / 10:.2f}" for i in range(200)]
        assert "the first 200 shown" in page.locator("output").last.inner_text()
        page.get_by_role("button", name="Show all").last.click()
        assert table.locator("tbody tr:visible").count() == 1000
        drawn(page)
