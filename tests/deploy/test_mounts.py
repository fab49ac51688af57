"""What a node gets of the working copy is enough to install Jackpot there, and the set-up begins with what is there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from launcher_rules import CLUSTER, LOCAL, ROOT


@pytest.fixture(params=[CLUSTER, LOCAL], ids=lambda path: path.name)
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The home folder of a node once the files are there."""
    for there, here in yaml.safe_load(request.param.read_text())["file_mounts"].items():
        target = tmp_path / there.removeprefix("~/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if here.startswith("~"):
            target.write_text("the token")
        elif (ROOT / here).is_dir():
            shutil.copytree(ROOT / here, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / here, target)
    return tmp_path


@pytest.mark.slow
def test_jackpot_is_installed_from_them(node: Path) -> None:
    site = node / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
         "--target", str(site), str(node / "jackpot")], check=True,
    )  # fmt: skip
    program = "import orchestrator; print(orchestrator.__file__); from orchestrator.cli.app import main; main()"
    said = subprocess.run(
        [sys.executable, "-c", program, "validate", "quickstart"], cwd=node, check=True, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(site)},
    ).stdout  # fmt: skip
    assert said.startswith(f"{site}/orchestrator/__init__.py\n")
    assert (site / "orchestrator" / "report" / "assets" / "page.css").exists()


@pytest.mark.parametrize("missing", [None, "Makefile", "requirements.txt", "pyproject.toml"])
def test_make_finds_what_it_needs(node: Path, missing: str | None, needs_system: Callable[[bool, str], None]) -> None:
    needs_system(shutil.which("make") is not None, "make")
    if missing:
        (node / "jackpot" / missing).unlink()
    (command,) = {
        command.split(maxsplit=2)[-1] if command.startswith("flock") else command
        for path in (CLUSTER, LOCAL)
        for command in yaml.safe_load(path.read_text())["setup_commands"]
        if "make -C" in command
    }
    dry = subprocess.run(
        ["bash", "-c", command.replace("make ", "make --dry-run ")], env=os.environ | {"HOME": str(node)},
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert (dry.returncode == 0, "--require-hashes requirements.txt" in dry.stdout) == (not missing, not missing)
