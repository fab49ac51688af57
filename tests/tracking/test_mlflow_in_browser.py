"""MLflow's own pages on a sweep, in a browser: what each link of `jackpot ui` shows."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fake_sweeps
import pytest
from browser import chromium, shot

from orchestrator.spec.models import Tracking
from orchestrator.tracking.links import Links
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.ui import server
from orchestrator.tracking.where import artifact_root, own_database

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("MLflow in a browser")]
# label, sparsity -> accuracy, MACs: of these, lottery at 95 % is beaten by snip at 95 %
CELLS = {
    ("dense", 0.0): (0.98, 1000), ("lottery", 0.9): (0.97, 120), ("lottery", 0.95): (0.95, 60),
    ("snip", 0.9): (0.96, 110), ("snip", 0.95): (0.955, 55),
}  # fmt: skip
NAMES = ["dense", "lottery s90", "lottery s95", "snip s90", "snip s95"]
SEEDS = 2
_CLOSED = """localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');"""

_POINTS = """count => [...document.querySelectorAll('.js-plotly-plot')].some(
    plot => plot.data?.[0].type?.startsWith('scatter') && plot.data[0].x.length === count)"""


def make_sweep(folder: Path) -> Path:
    """A finished sweep of two methods and the dense network, with its page and its summary."""
    fake_sweeps.sweep(folder, 0)
    for (label, sparsity), (accuracy, macs) in CELLS.items():
        for seed in range(SEEDS):
            trial = f"convnet_{label}_s{100 * sparsity:g}_seed{seed}"
            metrics = {"accuracy/test": accuracy + 0.001 * seed, "accuracy/val": 0.9, "sparsity/global": sparsity}
            changes = {"label": label, "method": label, "sparsity": sparsity, "seed": seed, "options": {}}
            fake_sweeps.add(folder, trial, **changes, metrics=metrics | {"macs": macs})
    (folder / "report.html").write_text("<h1>Page</h1><table><tr><td>the page's table</td></tr></table>")
    (folder / "summary.md").write_text("**snip** has the highest mean\n")
    return folder


@pytest.fixture(scope="module")
def links(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[dict[str, str]]:
    """The links of a sweep that a real server shows, by the first words of what they lead to."""
    folder = make_sweep(tmp_path_factory.mktemp("shown") / "tiny")
    uri = own_database(folder)
    shutil.copy(empty_database, folder / "mlflow.db")
    tracker = Tracker(folder, "tiny", Tracking(uri=uri))
    assert tracker.sync(status="FINISHED").message is None
    assert tracker.window is not None
    with server(uri, artifact_root(folder, uri), "127.0.0.1", None) as (base, _):
        found = Links(base, tracker.window.runs, tracker.window.parent.info.run_id).all()
        yield dict(zip(("sweep", "methods", "trials", "all", "best"), (link for _, link in found), strict=True))


@pytest.fixture(scope="module")
def browser(needs_system: Callable[[bool, str], None]) -> Iterator[Any]:
    with chromium(needs_system) as found:
        yield found


@contextmanager
def mlflow(browser: Any, address: str) -> Iterator[Any]:
    """A page of MLflow's, with no network but its server. At its end: the server has not failed."""
    base, failed = address.partition("/#")[0], []
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    context.set_default_timeout(60_000)
    context.add_init_script(_CLOSED)
    context.route(
        lambda url: not url.startswith((base, "blob:", "data:")),
        lambda route: route.abort(),
    )
    page = context.new_page()
    page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 500 else None)
    page.goto(address)
    yield page
    context.close()
    assert not failed, failed


def run_names(page: Any) -> list[str]:
    """The names in the table of runs, from top to bottom, once it is there."""
    links = page.locator("[role=row] a[href*='/runs/']")
    links.first.wait_for()
    found = links.evaluate_all("all => all.map(a => [+a.closest('[role=row]').getAttribute('row-index'), a.innerText])")
    return [name for _, name in sorted(found)]


def heads(page: Any) -> list[str]:
    """The heads of its columns, from left to right, as far as they are in sight."""
    cells = page.locator("[role=columnheader][aria-colindex]")
    found = cells.evaluate_all("all => all.map(c => [+c.getAttribute('aria-colindex'), c.innerText.trim()])")
    return list(dict.fromkeys(name for _, name in sorted(found) if name))


def test_the_sweeps_run_says_what_came_out_and_leads_to_its_methods(browser: Any, links: dict[str, str]) -> None:
    with mlflow(browser, links["sweep"]) as page:
        page.get_by_text("has the highest mean").wait_for()
        for name in NAMES:
            page.get_by_role("link", name=name, exact=True).wait_for()
        assert page.get_by_role("link", name=re.compile("seed")).count() == 0, "trials stand below the methods"
        assert "jackpot.file" not in page.locator("body").inner_text()
        shot(page, "mlflow-run-of-a-sweep", whole=False)
        page.get_by_role("link", name="snip s95", exact=True).click()
        page.get_by_role("heading", name="snip s95").wait_for()
        page.get_by_text("ci95/accuracy/test").first.wait_for()
        shot(page, "mlflow-run-of-a-method", whole=False)


def test_the_methods_a_row_each(browser: Any, links: dict[str, str]) -> None:
    with mlflow(browser, links["methods"]) as page:
        assert run_names(page) == ["dense", "lottery s90", "snip s90", "snip s95", "lottery s95"], "the best first"
        wanted = ["label", "sparsity", "accuracy/test", "ci95/accuracy/test", "accuracy/val"]
        assert [head for head in heads(page) if head in [*wanted, "model"]] == wanted, "the network is always the same"
        shot(page, "mlflow-methods-a-row-each", whole=False)


def test_the_trials_a_row_each(browser: Any, links: dict[str, str]) -> None:
    with mlflow(browser, links["trials"]) as page:
        names = run_names(page)
        assert sorted(names) == sorted(f"{name} seed{seed}" for name in NAMES for seed in range(SEEDS))
        assert "seed" in heads(page)
        shot(page, "mlflow-trials-a-row-each", whole=False)


@pytest.mark.parametrize(
    ("link", "names"), [("all", NAMES), ("best", ["dense", "lottery s90", "snip s90", "snip s95"])]
)
def test_the_comparison_draws_what_differs(browser: Any, links: dict[str, str], link: str, names: list[str]) -> None:
    with mlflow(browser, links[link]) as page:
        page.get_by_role("heading", name=f"Comparing {len(names)} Runs from 1 Experiment").wait_for()
        page.locator(".js-plotly-plot .main-svg").first.wait_for()
        assert page.locator(".js-plotly-plot .axis-title").all_text_contents()[-1:] == ["accuracy/test"]
        row = page.locator("tr", has_text="Run Name:")
        assert re.split(r"\s*\n\s*", row.inner_text().strip())[1:] == names
        shot(page, f"mlflow-comparison-of-{link}", whole=False)
        page.get_by_role("tab", name="Scatter Plot").click()
        # its points are drawn on a canvas, so they are counted in what was drawn from
        page.wait_for_function(_POINTS, arg=len(names))
        shot(page, f"mlflow-scatter-of-{link}", whole=False)


def test_a_trial_has_a_curve_over_its_epochs(browser: Any, links: dict[str, str]) -> None:
    with mlflow(browser, links["trials"]) as page:
        page.get_by_role("link", name="snip s95 seed1", exact=True).click()
        page.get_by_role("tab", name="Model metrics").click()
        page.get_by_placeholder("Search metric charts").fill("loss/train")
        points = page.locator(".js-plotly-plot .scatterlayer .point")
        points.nth(2).wait_for()
        assert points.count() == 3, "an epoch each"
        shot(page, "mlflow-curves-of-a-trial", whole=False)


def test_the_page_is_read_inside_mlflow(browser: Any, links: dict[str, str]) -> None:
    with mlflow(browser, links["sweep"].replace("?", "/artifacts/report.html?")) as page:
        page.frame_locator("iframe").get_by_text("the page's table").wait_for()
        for name in ("report.html", "results.csv", "spec.yaml", "summary.md"):
            assert page.get_by_text(name, exact=True).count() >= 1
        shot(page, "mlflow-report-as-artifact", whole=False)
