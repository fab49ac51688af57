"""One file of a sweep to hand on: its spec, every result, the tables made of them, and what made them."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.engine.files import replacing
from orchestrator.engine.folder import FolderError, SweepFolder
from orchestrator.engine.results import planned_results, write_csv
from orchestrator.report.page import write_report
from orchestrator.spec.sharing import shareable

COPIED = ("plan.json", "search/decisions.jsonl", "search/summary.json")
"""What the results are found by, beside the spec."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every file, the earliest a zip can say: the same results give the same bundle."""
README = """The sweep {name} of Jackpot, {done} of {trials} trials done.

Make the results again (Jackpot is installed as its README says; versions.json holds the versions at packing, each
result.json those it was made with):

    jackpot run spec.yaml

Make the tables again, from the results that are here:

    jackpot report .

spec.yaml          what was asked for, without credentials of a tracking server; `--set tracking.uri=null` keeps the
                   runs in the sweep's folder
plan.json          the trials that were planned, and the key of what each result depends on
trials/*/          result.json of every trial, sealed with its SHA-256: the truth that all else here follows from
results.csv        a row a trial, of these files; `jackpot schema --results` says what each column is
report.html        the comparison: a cell is the mean of accuracy/test over the seeds whose status is `done`, with the
                   95 % t interval; differences are paired over seeds, p values corrected by Holm
summary.md         its answer in words: what was compared, verdicts, what is missing
winners.json       the best ticket at every sparsity, and the trial it is
ratios/, search/   of a search: the ratios that it found, and what it decided
versions.json      packages, Python, system and commit where this bundle was packed

Not in here: trained weights, logs and stages, which `jackpot run` makes again; and the images, weights and ratios in
files that the spec names.
"""


def write_bundle(folders: Sequence[SweepFolder], path: Path | None = None) -> Path:
    """Pack sweeps into a zip, a folder each, whole or not at all; its path (default: NAME.zip in the first one's
    folder). The page and the table are made anew of what is packed. Raises FolderError where no sweep lies in a folder,
    or two have the same name."""
    names = [re.sub(r"[^A-Za-z0-9._-]", "_", folder.path.resolve().name) for folder in folders]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise FolderError(f"two sweeps are called {twice[0]!r}: bundle them one by one")
    path = path or folders[0].path / f"{names[0]}.zip"
    with tempfile.TemporaryDirectory() as place:
        for name, folder in zip(names, folders, strict=True):
            _gather(folder, Path(place) / name)
        with replacing(path) as temporary:
            _zip(Path(place), temporary)
    return path


def _gather(folder: SweepFolder, to: Path) -> None:
    """Lay out in `to` what the bundle holds of a sweep."""
    rows = planned_results(folder)
    to.mkdir()
    if (spec := folder.path / "spec.yaml").exists():
        (to / "spec.yaml").write_text(shareable(spec.read_text(encoding="utf-8")), encoding="utf-8")
    ratios = sorted(path.relative_to(folder.path).as_posix() for path in (folder.path / "ratios").glob("*.json"))
    for name in (*COPIED, *ratios):
        _copy(folder.path / name, to / name)
    copy = SweepFolder(to)
    for trial, result in rows:
        if result is not None:
            _copy(folder.trial(trial) / "result.json", copy.trial(trial) / "result.json")
    write_csv(copy)
    write_report([copy])
    done = sum(result is not None and result["status"] == "done" for _, result in rows)
    (to / "README.txt").write_text(README.format(name=to.name, done=done, trials=len(rows)), encoding="utf-8")
    (to / "versions.json").write_text(json.dumps(environment(), indent=1) + "\n", encoding="utf-8")


def _copy(source: Path, to: Path) -> None:
    if source.exists():
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, to)


def _zip(place: Path, to: Path) -> None:
    """All files below a folder, by name, with one time and one mode."""
    with zipfile.ZipFile(to, "w") as file:
        for path in sorted(path for path in place.rglob("*") if path.is_file()):
            about = zipfile.ZipInfo(path.relative_to(place).as_posix(), EPOCH)
            about.compress_type, about.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            file.writestr(about, path.read_bytes())


def environment() -> dict[str, Any]:
    """Python, system, every installed package and, from a clone, the commit of Jackpot."""
    packages = {each.metadata["Name"]: each.version for each in importlib.metadata.distributions()}
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: packages[name] for name in sorted(filter(None, packages), key=str.lower)},
        **_commit(Path(__file__).parents[2]),
    }


def _commit(clone: Path) -> dict[str, Any]:
    """The commit and whether files differ from it; nothing where Jackpot was installed without git."""
    if not (clone / ".git").exists() or shutil.which("git") is None:
        return {}
    said = [
        subprocess.run(["git", "-C", str(clone), *asked], capture_output=True, text=True, timeout=60, check=False)
        for asked in (("rev-parse", "HEAD"), ("status", "--porcelain"))
    ]
    if any(each.returncode for each in said):
        return {}
    return {"commit": said[0].stdout.strip(), "changed_since": bool(said[1].stdout.strip())}
