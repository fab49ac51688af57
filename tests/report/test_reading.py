"""How report.html reads from its top: what was asked and is missing, where numbers lead, several sweeps in one page."""

from __future__ import annotations

import base64
import fcntl
import gzip
import json
import math
import re
from pathlib import Path

import report_page
from reports import folder_of, history, result, sweep
from test_page import words

from orchestrator.engine.files import read_sealed, write_sealed
from orchestrator.engine.folder import SweepFolder
from orchestrator.report.page import write_report

HALF = {("dense", 0.0): [0.99, 0.98], ("good", 0.9): [0.9, 0.91]}


def half_finished(path: Path) -> SweepFolder:
    """A failed trial, and one that has not run, of which the plan says more than its id."""
    failed = result("good", 0.9, 2, None, status="failed")
    folder = folder_of(path, [*sweep(HALF), failed], missing=["net_a_b_s98_seed1"])
    plan = read_sealed(path / "plan.json")
    plan["planned"][-1] |= {"model": "net", "label": "a_b", "sparsity": 0.98, "seed": 1}
    write_sealed(path / "plan.json", plan)
    return folder


def test_what_is_missing_is_said_at_the_top_by_method_and_sparsity(tmp_path: Path) -> None:
    shown = words(write_report([half_finished(tmp_path)]))
    top = shown[shown.rindex("What was asked") : shown.index("test accuracy in %")]
    assert "6 trials: 4 done, 1 failed, 1 not run." in top
    assert "The sweep is not finished, and nothing is running." in top
    assert "a_b net 98 % removed 1 of 1 not run: 1" in top
    assert "good net 90 % removed 1 of 3 failed: 2" in top
    assert shown.rstrip().endswith("net_a_b_s98_seed1 net a_b 98 % 1 not run"), "a row of all trials"


def test_a_finished_sweep_misses_nothing(tmp_path: Path) -> None:
    shown = words(write_report([folder_of(tmp_path, sweep(HALF))]))
    assert "missing" not in shown
    assert "running" not in shown


def test_a_sweep_that_another_process_drives_is_said_to_run(tmp_path: Path) -> None:
    folder = half_finished(tmp_path)
    with open(tmp_path / "driver.lock", "w") as lock:
        lock.write("process 1 on elsewhere")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "The sweep is still running (process 1 on elsewhere)" in words(write_report([folder]))
    with folder.driving():
        assert "still running" not in words(write_report([folder])), "its own driver writes the page at its end"


def test_every_link_within_the_page_leads_somewhere_and_no_anchor_is_there_twice(tmp_path: Path) -> None:
    rows = [*sweep(HALF), result("größe/λ <b>", 0.9, 0, 0.5, trial="net_größe λ%2F_s90_seed0")]
    folders = [folder_of(tmp_path / name, rows) for name in ("one", "two")]
    text = write_report(folders, tmp_path / "both.html").read_text()
    anchors = re.findall(r'\sid="([^"]*)"', text)
    assert len(anchors) == len(set(anchors))
    links = re.findall(r'href="#([^"]*)"', text)
    from urllib.parse import unquote

    assert len(links) > 20
    assert {unquote(link) for link in links} <= set(anchors)
    assert 'href="#sweep2-trial-net_good_s0.9_seed0">91' not in text
    assert re.search(r'href="#sweep2-trial-net_good_s0.9_seed0">90\.50 ±', text), "a number of the second sweep"
    assert 'href="two/trials/net_gr%C3%B6%C3%9Fe%20%CE%BB%252F_s90_seed0/"' in text


def test_sweeps_of_the_same_data_stand_side_by_side(tmp_path: Path) -> None:
    one = folder_of(tmp_path / "one", sweep(HALF))
    two = folder_of(tmp_path / "two", sweep({("good", 0.9): [0.8], ("good", 0.98): [0.7]}))
    other = folder_of(tmp_path / "other", [result("good", 0.9, 0, 0.5, data="cifar10")])
    shown = words(write_report([one, two], tmp_path / "both.html"))
    assert "method sweep dense 90 % removed 98 % removed" in shown
    assert "good one 90.50 ± 6.35 (2) good two 80.00 (1) 70.00 (1)" in shown
    assert shown.index("side by side") < shown.index("What was asked")
    assert "side by side" not in words(write_report([one, other], tmp_path / "both.html"))


def unpacked(page: Path) -> dict:
    """The training curves as the browser unpacks them."""
    data = re.search(r'<details class="curves">.*?octet-stream">(.*?)</script>', page.read_text(), flags=re.DOTALL)
    assert data is not None
    return json.loads(gzip.decompress(base64.b64decode(data[1])))


def test_the_curves_of_every_trial_are_packed_into_the_page(tmp_path: Path) -> None:
    rows = sweep(HALF)
    for i, row in enumerate(rows[:3]):
        row["history"] = history(4, i)
    rows[2]["history"][3]["loss/train"] = math.nan
    rows[2]["history"][1]["accuracy/val"] = 0.123456789
    found = unpacked(write_report([folder_of(tmp_path, rows)]))
    assert found["metrics"] == ["accuracy/val", "loss/train", "lr"]
    assert [trial["trial"] for trial in found["trials"]] == [
        "net_dense_s0.0_seed0", "net_dense_s0.0_seed1", "net_good_s0.9_seed0",
    ]  # fmt: skip
    last = found["trials"][2]
    assert (last["method"], last["sparsity"], last["seed"], last["epochs"]) == ("good", "90 %", 0, [1, 2, 3, 4])
    assert last["anchor"] == "trial-net_good_s0.9_seed0"
    assert last["values"][0] == [0.5, 0.12346, 0.83333, 0.875], "to five digits"
    assert last["values"][1][3] is None, "what is not finite is not drawn"


def test_a_page_without_histories_offers_no_curves(tmp_path: Path) -> None:
    assert "Training curves" not in words(write_report([folder_of(tmp_path, sweep(HALF))]))


def test_a_thousand_trials_fit_into_five_megabytes(tmp_path: Path) -> None:
    small, large = (
        write_report([report_page.made_up(tmp_path / str(count), count, epochs=50)]).stat().st_size
        for count in (55, 110)
    )
    assert small + (1000 - 55) / 55 * (large - small) < 5e6


def test_a_traceback_is_shown_once(tmp_path: Path) -> None:
    error = {"type": "E", "message": "m", "traceback": "Traceback: <here>"}
    rows = [result("bad", 0.9, seed, None, status="failed", error=error) for seed in range(3)]
    text = write_report([folder_of(tmp_path, rows)]).read_text()
    assert text.count("Traceback: &lt;here&gt;") == 1
    assert "The traceback of net_bad_s0.9_seed0" in text
