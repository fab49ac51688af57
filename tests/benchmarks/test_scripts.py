"""The benchmarks run and print their table; no speed is asserted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


def run(script, *arguments):
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "COLUMNS": "150"}
    command = [sys.executable, str(SCRIPTS / script), *arguments]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


@pytest.mark.slow
def test_overhead():
    shown = run("overhead.py", "--one", "2", "--ten", "0")
    rows = [line.split("│")[1:-1] for line in shown.splitlines() if "│ 2 x 1 s" in line]
    assert [row[1].strip()[:3] for row in rows] == ["(a)", "(b)", "(c)"]
    assert all(float(row[3]) > 0 for row in rows)
    assert "first training step" in shown


@pytest.mark.slow
def test_sweep(tmp_path):
    small = ["--set", "recipe.epochs=1", "--set", "seeds=[0]", "--set", "latency.enabled=false"]
    shown = run("sweep.py", "--trials", "21", *small, "--json", str(tmp_path / "out" / "sweep.json"))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "│" in line]
    assert [row[0] for row in rows[:10]] == [f"trials to {2 * n}: a second; driver's MB" for n in range(1, 11)]
    found = json.loads((tmp_path / "out" / "sweep.json").read_text())
    for system in ("jackpot", "plain"):
        groups = found["noop"][system]["groups"]
        assert sum(group["trials"] for group in groups) == 20
        assert all(group["per_second"] > 0 and group["mb"] > 100 for group in groups)
    assert found["real"]["trials"] == 10
    assert found["real"]["predicted"]["seconds"] > found["real"]["predicted"]["trials_seconds"] > 0
    assert 0 < found["real"]["busy"] <= 1


@pytest.mark.slow
def test_stages():
    shown = run("stages.py", "--kills", "0", "--epochs", "1")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "│" in line]
    assert [row[:2] for row in rows] == [["14 trials of 1 epochs", "nothing"]]
    assert [row[3:6] for row in rows] == [["30.00", "30", "1.000"]]


@pytest.mark.slow
def test_tracking():
    shown = run("tracking.py", "--trials", "6", "--epochs", "2", "--bare", "2")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "│" in line]
    assert [row[0] for row in rows] == ["sqlite", "HTTP, one worker"]
    assert all(float(cell) > 0 for row in rows for cell in row[1:])


@pytest.mark.soak  # the whole quickstart
def test_tracking_live():
    shown = run("tracking_live.py")
    (row,) = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "│" in line]
    points, median, within, longest, late = map(float, row)
    assert points > 1000
    assert 0 <= median <= within <= longest
    assert (longest > 15) == (late > 0)
