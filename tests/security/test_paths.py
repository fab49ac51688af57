"""No name that is read leads out of the folder that it is a name in: of trials, images, archives, links."""

from __future__ import annotations

import json
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import link, tar
from PIL import Image
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.engine.data import DataError
from orchestrator.engine.data.cifar_archive import CIFAR10, unpack
from orchestrator.engine.data.image_files import images_below
from orchestrator.engine.data.imagenet import load_tiny_imagenet
from orchestrator.engine.files import write_sealed
from orchestrator.engine.finding import find_sweep, find_trial
from orchestrator.engine.folder import FolderError, SweepFolder
from orchestrator.engine.trials import trials
from orchestrator.spec import load
from orchestrator.spec.data import TinyImageNet

SPEC = {
    "name": "small", "data": "digits", "model": "convnet", "recipe": {"epochs": 1}, "methods": ["dense"],
    "latency": {"enabled": False}, "tracking": {"enabled": False},
}  # fmt: skip
OUTSIDE = ["..", ".", "", "../outside", "/etc", "a/../../outside", "a/b", "a\0b"]


def jackpot(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    """A sweep with a plan of one trial, which has no result yet; beside it a file that is none of its business."""
    folder = SweepFolder(tmp_path / "sweep")
    folder.trial("t").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "result.json").write_text("not yours")
    plan(folder, "t")
    (folder.path / "spec.yaml").write_text(json.dumps(SPEC))
    return folder


def plan(folder: SweepFolder, trial: str) -> None:
    write_sealed(folder.path / "plan.json", {"planned": [{"trial": trial, "key": "k"}], "run": "r"})


# What a spec names


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "..", "", "x" * 101, "a\\b", "a b", "é"])
def test_a_sweeps_name_is_one(name: str) -> None:
    assert [problem.path for problem in load({**SPEC, "name": name}).problems] == [("name",)]


def test_every_trials_name_is_one_whatever_its_options_say(tmp_path: Path) -> None:
    hostile = ["../../x", "/etc/passwd", "..", "a\\b", "~", "$HOME", "x\ny", "\u202e", "-rf"]
    models = [{"name": "mynets:net", "text": text} for text in hostile] + [{"name": "../evil:net"}, {"name": "..:.."}]
    found = [trial for model in models for trial in trials(load({**SPEC, "model": model}).require())]
    assert len(found) == len(models)
    folder = SweepFolder(tmp_path)
    assert {folder.trial(trial.id).parent for trial in found} == {tmp_path / "trials"}
    assert not [trial.id for trial in found if set(trial.id) & set("/\\\n~$") or trial.id.startswith("-")]


def test_a_network_whose_options_make_too_long_a_name_is_named() -> None:
    from orchestrator.engine.check import _check_labels

    loaded = load({**SPEC, "model": ["convnet", {"name": "mynets:net", "text": "x" * 300}]})
    (problem,) = _check_labels(loaded.parts["model"])
    assert problem.path == ("model", 1)
    assert "a folder's name of 315 characters" in problem.message


# What files of a sweep name


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_plan_that_names_a_trial_elsewhere(sweep: SweepFolder, name: str) -> None:
    plan(sweep, name)
    before = sorted(os.walk(sweep.path.parent))
    for verb in ("status", "report", "sync"):
        shown = jackpot(verb, str(sweep.path))
        assert shown.exit_code == 2, (verb, shown.output)
        assert f"{name!r} is no trial's name" in shown.stderr
    assert sorted(os.walk(sweep.path.parent)) == before


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_search_that_decided_on_a_trial_elsewhere(sweep: SweepFolder, name: str) -> None:
    write_sealed(sweep.path / "plan.json", {"planned": [], "run": "r", "search": {"definition": "d", "trials": 9}})
    decided = {"trial": name, "key": "k", "options": {}, "sparsity": "0.5", "number": 0}
    (sweep.path / "search").mkdir()
    (sweep.path / "search" / "decisions.jsonl").write_text(json.dumps({"search": "d", "proposal": decided}))
    shown = jackpot("status", str(sweep.path))
    assert shown.exit_code == 2
    assert "is no trial's name" in shown.stderr


@pytest.mark.parametrize("name", ["..", "../..", "../../outside", "small/../../outside", "nonsense"])
def test_a_trial_given_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    place = tmp_path / "sweeps" / "small" / "trials"
    place.mkdir(parents=True)
    (tmp_path / "sweeps" / "outside").mkdir()
    (tmp_path / "sweeps" / "outside" / "log.txt").write_text("not yours")
    monkeypatch.chdir(tmp_path)
    for verb in (["logs", name], ["export", name, "x.onnx"], ["compare", name, name]):
        shown = jackpot(*verb)
        assert (shown.exit_code, shown.stdout) == (2, ""), (verb, shown.output)
        assert isinstance(shown.exception, SystemExit)


# Links


@pytest.mark.parametrize(
    "name",
    ["trials", "trials/t", "trials/t/log.txt", "trials/t/events.jsonl", "stages", "driver.lock", "ratios/x.json",
     "search/decisions.jsonl", "results.csv", "checkpoints/k", "mlflow.db"],
)  # fmt: skip
@pytest.mark.parametrize("there", [True, False])
def test_a_link_out_of_the_folder_is_refused(sweep: SweepFolder, name: str, there: bool) -> None:
    target = sweep.path.parent / ("outside" if there else "not-there")
    place = sweep.path / name
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir():
        os.renames(place, sweep.path.parent / "moved")
        place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
    before = sorted(os.walk(sweep.path.parent))
    for verb in (["status"], ["report", "--bundle"], ["sync"], ["gc"], ["stop"]):
        shown = jackpot(verb[0], str(sweep.path), *verb[1:])
        assert shown.exit_code == 2, (verb, shown.output)
        assert f"{place}: is a link out of the sweep's folder, to {target}" in shown.stderr
    with pytest.raises(FolderError, match="is a link out of"):
        sweep.prepare()
    assert sorted(os.walk(sweep.path.parent)) == before


def test_a_link_that_stays_inside_and_a_linked_folder_are_well(sweep: SweepFolder, tmp_path: Path) -> None:
    (sweep.path / "again").symlink_to(sweep.path / "trials" / "t")
    (sweep.path / "round").symlink_to(sweep.path)
    (tmp_path / "shortcut").symlink_to(sweep.path)
    find_sweep(tmp_path / "shortcut")
    assert find_trial(tmp_path / "shortcut" / "t")[1] == "t"
    SweepFolder(tmp_path / "shortcut").prepare()


def test_a_bundle_packs_nothing_from_elsewhere(sweep: SweepFolder, tmp_path: Path) -> None:
    (sweep.path / "ratios").mkdir()
    (sweep.path / "ratios" / "best.json").write_text("{}")
    assert jackpot("report", str(sweep.path), "--bundle").exit_code == 0
    with zipfile.ZipFile(sweep.path / "sweep.zip") as file:
        names = file.namelist()
    assert "sweep/ratios/best.json" in names
    assert not [name for name in names if name.startswith("/") or ".." in name.split("/")]


# Data sets


def member(name: str) -> tarfile.TarInfo:
    return tarfile.TarInfo(name)


FILES = [f"{CIFAR10.folder}/{name}" for name in CIFAR10.names_of_files()]


def test_an_archive_gives_its_own_files_alone(tmp_path: Path) -> None:
    strange = ["../outside", "/tmp/outside", f"{CIFAR10.folder}/../../outside", f"{CIFAR10.folder}/other", "other"]
    members = [link(f"{CIFAR10.folder}/sub", "/etc"), link("x", "../..", tarfile.LNKTYPE)]
    members += [(member(name), b"no") for name in strange] + [(member(name), b"yes") for name in FILES]
    to = tmp_path / "in" / "to"
    to.mkdir(parents=True)
    unpack(tar(tmp_path / "x.tar.gz", members), CIFAR10, to)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(
        ["x.tar.gz", *(f"in/to/{name}" for name in FILES)]
    )
    assert {path.read_bytes() for path in (to / CIFAR10.folder).iterdir()} == {b"yes"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_link_in_the_place_of_a_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    members = [link(FILES[0], "/etc/passwd", kind), *((member(name), b"") for name in FILES[1:])]
    with pytest.raises(RuntimeError, match=f"{FILES[0]} is no file of at most 200,000,000 bytes"):
        unpack(tar(tmp_path / "x.tar.gz", members), CIFAR10, tmp_path)


def test_an_archive_that_is_huge_once_unpacked_is_refused(tmp_path: Path) -> None:
    huge = member(FILES[0])
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        huge.size = 10**12
        file.fileobj.write(huge.tobuf())  # type: ignore[union-attr]
    with pytest.raises(RuntimeError, match="is no file of at most"):
        unpack(path, CIFAR10, tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 10_000


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"no archive"])
def test_what_is_no_archive_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(content)
    with pytest.raises(RuntimeError, match="cannot be unpacked"):
        unpack(path, CIFAR10, tmp_path)


def test_a_class_that_is_a_path_is_refused(tmp_path: Path) -> None:
    for folder in ("train/n1", "val/images", "../outside"):
        (tmp_path / "tiny" / folder).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "tiny" / folder / "a.png")
    (tmp_path / "tiny" / "val" / "val_annotations.txt").write_text("a.png\tn1\n")
    (tmp_path / "tiny" / "wnids.txt").write_text("n1\n../../outside\n")
    with pytest.raises(DataError, match=r"wnids\.txt: '?\.\./\.\./outside'? is a path"):
        load_tiny_imagenet(TinyImageNet(name="tiny_imagenet", root=str(tmp_path / "tiny")))


def test_links_of_images_that_lead_in_circles_end(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    for name in "ab":
        for other in "abc":
            (tmp_path / name / f"to-{other}").symlink_to(tmp_path if other == "c" else tmp_path / other)
    assert sorted(Path(name).name for name in images_below(tmp_path, "a")) == ["1.png", "1.png"]
