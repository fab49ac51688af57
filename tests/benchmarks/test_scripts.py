"""The benchmarks run and print their table; no speed is asserted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

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


@pytest.mark.slow
def test_latency(tmp_path):
    written = tmp_path / "latency.json"
    shown = run("latency.py", "--quick", "--repeat", "--tickets", str(tmp_path / "tickets"), "--json", str(written))
    found = json.loads(written.read_text())
    runtimes = ["dense", "program", "compact", "compiled", "onnxruntime"]
    for rows in (found["rows"], found["repeated"]):
        assert [row["runtime"] for row in rows] == 2 * runtimes
        assert {row["ticket"] for row in rows} == {"random-uniform 90 %", "filter_prune-macs 50 %"}
        for row in rows:
            assert "error" not in row
            assert row["ms"] > 0
            assert row["flops_ms"] > 0
            assert row["bytes_ms"] > 0
    masked, pruned = found["rows"][0], found["rows"][5]
    assert masked["speedup"] == 1
    assert pruned["flops"] < masked["flops"]
    assert found["machine"]["torch"]
    assert "of 10 ratios agree within 5 %" in shown


def test_the_floor_of_a_small_network():
    from floor import Work, work

    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(),
                              torch.nn.Linear(4 * 25, 2))  # fmt: skip
    found = work(net, torch.zeros(2, 3, 5, 5))
    assert found.flops == 2 * (2 * 25 * 4 * 27 + 2 * 100 * 2)
    convolution = 4 * 27 + 4 + 2 * 3 * 25 + 2 * 4 * 25
    assert found.bytes == 4 * (convolution + 100 * 2 + 2 + 2 * 100 + 2 * 2)
    assert Work(flops=10, bytes=30).seconds(100.0, 10.0) == (0.1, 3.0)


def test_the_machine(monkeypatch):
    import machine

    monkeypatch.setattr(machine, "SIZES", {"cpu": (32,)})
    monkeypatch.setattr(machine, "SECONDS", 0.0)
    monkeypatch.setattr(machine, "LARGE", 2**12)
    monkeypatch.setattr(machine, "last_cache", lambda: 2**11)
    before = torch.get_num_threads()
    assert machine.matmul_rate(1) > 0
    assert machine.bandwidth(1) > 0
    assert torch.get_num_threads() == before
    assert {"processor", "cores", "torch"} <= set(machine.about())


@pytest.mark.slow
def test_train(tmp_path):
    figures = tmp_path / "train.json"
    quick = ["--nets", "digits", "--turns", "1", "--seconds", "0.1", "--kinds", "plain;float32;bfloat16", "--profile"]
    shown = run("train.py", *quick, "--json", str(figures))
    assert "digits (64)" in shown
    assert "aten::convolution_backward" in shown
    (row,) = json.loads(figures.read_text())["rows"]
    rates = row["images_per_second"]
    assert list(rates) == ["plain", "float32", "bfloat16"]
    assert row["ratio"] == {kind: pytest.approx(rate / rates["plain"]) for kind, rate in list(rates.items())[1:]}
    assert 0 < row["images_share"] < 1
    assert all(share > 0 for share in row["floor_share"].values())
    minutes = 160 * 50_000 / rates["float32"] / 60
    assert row["ticket_minutes"]["float32"] == pytest.approx(minutes)
    assert list(row["at_once"]["2"]) == ["plain", "float32"]
    assert all(packed["times"] > 0 for packed in row["at_once"]["2"].values())


@pytest.mark.soak  # compiles in a dozen processes
def test_train_compiled(tmp_path):
    figures = tmp_path / "train.json"
    quick = ["--nets", "digits", "--turns", "1", "--seconds", "0.1", "--techniques"]
    run("train.py", *quick, "--json", str(figures))
    (row,) = json.loads(figures.read_text())["rows"]
    assert row["compile_seconds"] > row["at_once"]["2"]["bfloat16, compiled"]["compile_seconds"] > 0
    assert list(row["techniques"])[:3] == ["compile", "bfloat16", "channels_last"]
    assert all(gain > 0 for gain in row["techniques"].values())


@pytest.mark.soak  # likewise
def test_accuracy(tmp_path):
    figures = tmp_path / "accuracy.json"
    shown = run("accuracy.py", "--nets", "digits", "--seeds", "2", "--epochs", "4", "--json", str(figures))
    found = json.loads(figures.read_text())["accuracy"]["digits"]
    assert list(found) == ["plain", "float32", "bfloat16", "float32, compiled", "bfloat16, compiled"]
    assert all(0.5 < accuracy < 1 for seeds in found.values() for accuracy in seeds)
    assert "95 % interval" in shown


def test_the_trainer_is_measured_where_neither_ray_nor_mlflow_is():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['ray', 'mlflow', 'optuna'])); sys.path.insert(0, sys.argv[1])\n"
        "import train\n"
        "import trainers\n"
        "trainers.KINDS['float32'](trainers.contest(trainers.NETS['digits'], None, train.torch.device('cpu'))).run(2)"
    )
    subprocess.run([sys.executable, "-c", code, str(SCRIPTS)], check=True)
