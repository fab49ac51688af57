"""The bundle of a sweep: what is in it, and that the table follows from it elsewhere."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest
import searches
from reports import sweep
from test_page import folder_of

from orchestrator.engine.files import write_sealed
from orchestrator.engine.folder import FolderError, SweepFolder
from orchestrator.engine.results import write_csv
from orchestrator.report.bundle import environment, write_bundle
from orchestrator.report.page import write_report
from orchestrator.spec.sharing import shareable, without_credentials

ROWS = {("dense", 0.0): [0.99, 0.98], ("good", 0.9): [0.9, 0.91], ("poor", 0.9): [0.5, None]}
SECRET = "postgresql://me:s3cret/p?w#x@db.example:5432/runs?password=s3cret"


@pytest.fixture
def made_up(tmp_path: Path) -> SweepFolder:
    rows = [each | FIELDS for each in sweep(ROWS)]
    folder = folder_of(tmp_path / "made-up", rows, missing=["net_left_s0.9_seed0"])
    (folder.path / "spec.yaml").write_text(
        f"name: made-up\ntracking: {{uri: '{SECRET}', experiment: x}}\nseeds: [0, 1]\n"
    )
    (folder.path / "trials/net_good_s0.9_seed0/ticket.safetensors").write_bytes(b"weights")
    return folder


FIELDS = {"arm": "a", "check": None}
"""What results.csv reads of a result and the page does not."""


def unpacked(bundle: Path, to: Path) -> Path:
    with zipfile.ZipFile(bundle) as file:
        assert file.testzip() is None
        file.extractall(to)
    return to


def test_the_same_table_and_page_follow_from_it_elsewhere(made_up: SweepFolder, tmp_path: Path) -> None:
    there = unpacked(write_bundle([made_up]), tmp_path / "elsewhere") / "made-up"
    table, page = write_csv(made_up).read_bytes(), write_report([made_up]).read_bytes()
    assert (there / "results.csv").read_bytes() == table
    assert (there / "report.html").read_bytes() == page
    for name in ("results.csv", "report.html"):
        (there / name).unlink()
    assert write_csv(SweepFolder(there)).read_bytes() == table
    assert write_report([SweepFolder(there)]).read_bytes() == page


def test_what_is_in_it(made_up: SweepFolder) -> None:
    path = write_bundle([made_up])
    assert path == made_up.path / "made-up.zip"
    with zipfile.ZipFile(path) as file:
        names = file.namelist()
        readme, versions = file.read("made-up/README.txt").decode(), json.loads(file.read("made-up/versions.json"))
    trials = [f"trials/net_{label}_s{s}_seed{seed}/result.json" for (label, s) in ROWS for seed in (0, 1)]
    files = ["README.txt", "plan.json", "spec.yaml", "versions.json", *trials]
    files += ["report.html", "results.csv", "summary.md", "winners.json"]
    assert names == [f"made-up/{name}" for name in sorted(files, key=lambda name: Path(name).parts)]
    assert "The sweep made-up of Jackpot, 5 of 7 trials done." in readme
    assert "jackpot run spec.yaml" in readme
    assert versions["packages"]["numpy"]


def test_no_credentials_are_in_it_nor_on_the_page(made_up: SweepFolder, tmp_path: Path) -> None:
    there = unpacked(write_bundle([made_up]), tmp_path / "elsewhere") / "made-up"
    write_report([made_up])
    for path in [*(path for path in there.rglob("*") if path.is_file()), made_up.path / "report.html"]:
        assert b"s3cret" not in path.read_bytes(), path
    assert "uri: postgresql://db.example:5432/runs\n" in (there / "spec.yaml").read_text()


def test_the_same_results_give_the_same_bundle(made_up: SweepFolder, tmp_path: Path) -> None:
    first = write_bundle([made_up]).read_bytes()
    for path in made_up.path.rglob("*.json"):
        os.utime(path, (1, 1))
    assert write_bundle([made_up], tmp_path / "again.zip").read_bytes() == first


def test_several_sweeps_have_a_folder_each(made_up: SweepFolder, tmp_path: Path) -> None:
    other = folder_of(tmp_path / "other one", [each | FIELDS for each in sweep({("dense", 0.0): [0.5]})])
    there = unpacked(write_bundle([made_up, other], tmp_path / "both.zip"), tmp_path / "elsewhere")
    assert sorted(path.name for path in there.iterdir()) == ["made-up", "other_one"]
    twin = folder_of(tmp_path / "deeper" / "made-up", [])
    with pytest.raises(FolderError, match="two sweeps are called 'made-up': bundle them one by one"):
        write_bundle([made_up, twin], tmp_path / "both.zip")


def test_a_search_goes_with_it(tmp_path: Path) -> None:
    content = searches.summary(searches.PROPOSALS, finalists=searches.FINALIST)
    tested = {"hybrid-searched1": [0.9, 0.91], "hybrid-uniform": [0.8, 0.82], "hybrid-erk": [0.85, 0.84]}
    folder = searches.folder_of(tmp_path / "search", content, tested)
    for path in folder.path.glob("trials/*/result.json"):
        result = json.loads(path.read_text())
        del result["sha256"]
        write_sealed(path, result | FIELDS)
    (folder.path / "ratios").mkdir()
    (folder.path / "ratios/best.json").write_text("{}")
    there = unpacked(write_bundle([folder]), tmp_path / "elsewhere") / "search"
    assert (there / "ratios/best.json").exists()
    write_report([folder])
    for name in ("report.html", "search/search.html"):
        assert (there / name).read_bytes() == (folder.path / name).read_bytes()


def test_what_cannot_be_packed_leaves_nothing_behind(made_up: SweepFolder, tmp_path: Path) -> None:
    write_sealed(made_up.path / "plan.json", {"planned": [{"trial": "../outside", "key": "k"}]})
    with pytest.raises(FolderError, match=r"'\.\./outside' is no trial's name"):
        write_bundle([made_up])
    with pytest.raises(FolderError, match="no sweep here"):
        write_bundle([SweepFolder(tmp_path / "nowhere")])
    assert not (tmp_path / "nowhere").exists()
    assert not list(tmp_path.rglob("*.zip*"))


@pytest.mark.parametrize(
    ("uri", "left"),
    [
        (SECRET, "postgresql://db.example:5432/runs"),
        ("https://token@host/mlflow", "https://host/mlflow"),
        ("http://host:5000", "http://host:5000"),
        ("mysql+pymysql://host/db?user=a&passwd=b", "mysql+pymysql://host/db"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
    ],
)
def test_an_address_without_credentials(uri: str, left: str) -> None:
    assert without_credentials(uri) == left


def test_a_spec_without_credentials_stays_as_written() -> None:
    for text in ("name: a  # b\n", "tracking: {uri: null}\n", "tracking: {uri: 'http://host:1'}  # c\n", ""):
        assert shareable(text) == text


def test_the_environment_is_in_order() -> None:
    found = environment()
    names = list(found["packages"])
    assert names == sorted(names, key=str.lower)
    assert {"torch", "scipy"} <= set(names)
    assert found["python"].count(".") == 2
