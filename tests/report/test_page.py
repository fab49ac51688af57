"""report.html: what stands in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from reports import EVIL, folder_of, record, result, sweep

from orchestrator.engine.folder import FolderError, SweepFolder
from orchestrator.report.page import write_report


@pytest.fixture
def made_up(tmp_path: Path) -> SweepFolder:
    rows = sweep({("dense", 0.0): [0.99, 0.98], ("good", 0.9): [0.9, 0.91], ("poor", 0.9): [0.5, None]})
    narrow = record(structure="t" * 64, ms=1.0, speedup=2.0, interval=[1.9, 2.1], noisy=True,
                    disturbed=["another had its core"])  # fmt: skip
    failed = record(batch=64, error="OutOfMemoryError: too much")
    rows.append(result("narrow", 0.9, 0, 0.8, latency=[narrow, failed], collapsed=["conv"]))
    rows.append(result("<b>bold</b>", 0.9, 0, 0.6))
    rows.append(result(EVIL, 0.9, 0, 0.7, error={"type": "E", "message": EVIL, "traceback": ""}, status="failed"))
    return folder_of(tmp_path / "made-up", rows, missing=["net_left_s0.9_seed0"])


def words(path: Path) -> str:
    """The page without styles, scripts and tags."""
    text = re.sub(r"<(style|script).*?</\1>", "", path.read_text(), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def test_the_page_says_what_came_out(made_up: SweepFolder) -> None:
    shown = words(write_report([made_up]))
    for part in (
        "The last of them ended on 2023-11-14 22:13:21 UTC",
        "10 trials: 1 diverged, 7 done, 1 failed, 1 not run",
        "90.50 ± 6.35 (2)",
        "50.00 (1) 1 diverged",
        "good has the highest mean",
        "one seed: nothing can be concluded",
        "net_poor_s0.9_seed1 diverged Diverged: the loss is not finite",
        "2.000 (1.900 to 2.100)",
        "noisy: another had its core the dense structure a processor, 1 threads, float32, channels_last, torch 2 eager",
        "OutOfMemoryError: too much",
        "layers that keep no weight net_narrow_s0.9_seed0 conv",
        "net_left_s0.9_seed0",
        "name: made-up # &lt;spec&gt;",
    ):
        assert part in shown, part


def test_nothing_of_a_user_is_taken_for_html_and_nothing_is_fetched(made_up: SweepFolder) -> None:
    text = write_report([made_up]).read_text()
    assert "alert(1)</script>" not in text
    assert '"name": "&lt;b&gt;bold&lt;/b&gt;"' in text, "escaped in plots too, where plotly takes tags for tags"
    assert "alert(1)&lt;/script&gt;" in text
    assert not re.findall(r"""\ssrc\s*=|url\(|@import""", text)
    addresses = re.findall(r'href="([^"]*)"', text)
    assert addresses
    assert not [address for address in addresses if not address.startswith(("#", "trials/"))], (
        "to the page and the disk"
    )


def test_the_same_results_give_the_same_file(made_up: SweepFolder) -> None:
    first = write_report([made_up]).read_bytes()
    assert write_report([made_up]).read_bytes() == first


def test_one_seed_is_said_to_prove_nothing(tmp_path: Path) -> None:
    rows = sweep({("dense", 0.0): [0.99], ("a", 0.9): [0.9], ("b", 0.9): [0.1]})
    shown = words(write_report([folder_of(tmp_path, rows)]))
    assert "a has the highest mean; one seed: nothing can be concluded" in shown
    assert "differs" not in shown


def test_a_sweep_without_results_has_a_page(tmp_path: Path) -> None:
    assert "1 trials: 1 not run" in words(write_report([folder_of(tmp_path, [], ["net_a"])]))
    with pytest.raises(FolderError, match="no sweep here"):
        write_report([SweepFolder(tmp_path / "nowhere")])


def test_older_results_without_latency(tmp_path: Path) -> None:
    rows = [result("a", 0.9, seed, 0.9, latency=[], metrics={"accuracy/test": 0.9}) for seed in (0, 1)]
    shown = words(write_report([folder_of(tmp_path, rows)]))
    assert "90.00 ± 0.00 (2)" in shown
    assert "Measured latency" not in shown


def test_several_sweeps_in_one_page(made_up: SweepFolder, tmp_path: Path) -> None:
    other = folder_of(tmp_path / "other", sweep({("dense", 0.0): [0.5]}))
    path = write_report([made_up, other], tmp_path / "both.html")
    shown = words(path)
    assert path == tmp_path / "both.html"
    assert shown.startswith("Jackpot: made-up, other")
    first, second = (shown.rindex(f"{name} What was asked") for name in ("made-up", "other"))
    assert first < shown.index("90.50 ± 6.35 (2)", first) < second < shown.index("50.00 (1)", second)
