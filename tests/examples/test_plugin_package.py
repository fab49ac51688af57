"""The plugin package in examples/: installed beside Jackpot it appears and runs, without a change to Jackpot."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PLUGIN = REPOSITORY / "examples" / "jackpot-gradient"

SPEC = """
name: plugin
data: digits
model: convnet
recipe: {epochs: 2}
methods: [{name: gradient, per_class: 5}, dense]
sparsities: [0.9]
concurrency: 1
tracking: {enabled: false}
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment in which the plugin is installed, in a folder of its own."""
    target = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "plugin"
    # built from a copy, so that nothing is left in the working tree
    source.mkdir()
    for name in ("pyproject.toml", "jackpot_gradient.py"):
        (source / name).write_text((PLUGIN / name).read_text())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True)
    home = str(tmp_path_factory.mktemp("home"))
    return {**os.environ, "PYTHONPATH": str(target), "HOME": home, "RAY_AUTH_MODE": "disabled"}


def jackpot(environment, folder, *arguments):
    script = Path(sys.executable).with_name("jackpot")
    return subprocess.run(
        [script, *arguments], env=environment, cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )


def test_it_is_listed_with_its_options(environment, tmp_path):
    listed = jackpot(environment, tmp_path, "methods", "gradient", "--json")
    assert listed.returncode == 0, listed.stderr
    method = json.loads(listed.stdout)
    assert method["module"] == "jackpot_gradient"
    assert [(option["name"], option["default"]) for option in method["options"]] == [("per_class", 10)]


@pytest.mark.slow
def test_the_conformance_suite_finds_it_and_it_conforms(environment):
    pytest_of_it = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "gradient"]
    ran = subprocess.run(
        [*pytest_of_it, "tests/conformance"],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    # pytest exits 5 where -k finds no test
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "skipped" not in ran.stdout


@pytest.mark.slow
def test_it_runs_in_a_sweep(environment, tmp_path):
    (tmp_path / "plugin.yaml").write_text(SPEC)
    ran = jackpot(environment, tmp_path, "run", "plugin.yaml")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = tmp_path / "sweeps" / "plugin" / "trials" / "convnet_gradient-per_class5_s90_seed0" / "result.json"
    result = json.loads(found.read_text())
    assert result["status"] == "done"
    assert sum(layer["kept"] for layer in result["layers"]) == 23824 - round(0.9 * 23824)
    # a mended plugin is never answered from the store: its own source is in its stages' keys
    assert [stage["kind"] for stage in result["chain"]] == ["initialise", "compute", "train", "evaluate", "latency"]
