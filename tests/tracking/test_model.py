"""The winners in MLflow's registry."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_sweeps import runs

from orchestrator.engine.files import write_sealed
from orchestrator.engine.nets import build
from orchestrator.engine.ticket import LoadedTicket, write_ticket
from orchestrator.spec.models import Model, Tracking
from orchestrator.tracking.client import connect
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.where import own_database

Make = Callable[..., Path]
TRIAL = "convnet_random_s90_seed1"
WINNER = {"model": "convnet", "sparsity": 0.9, "label": "random-smart", "trial": TRIAL, "seed": 1,
          "accuracy/test": 0.8, "said": "90 % removed: random-smart 80.00 % (1 seed)"}  # fmt: skip
PROGRAM = """
import sys
for name in ("orchestrator", "methods", "search_spaces", "torchvision"):
    sys.modules[name] = None  # what a machine with mlflow and torch alone has not
import mlflow, numpy as np, torch
mlflow.set_tracking_uri(sys.argv[1]); mlflow.set_registry_uri(sys.argv[1])
model = mlflow.pytorch.load_model(sys.argv[2])
with torch.no_grad():
    np.save(sys.argv[4], model(torch.from_numpy(np.load(sys.argv[3]))).numpy())
"""


def ticket(seed: int) -> LoadedTicket:
    """A small convnet with every second weight of its first layer removed."""
    net = build(Model(name="convnet", width=0.25), 10, (1, 8, 8), seed)  # type: ignore[call-arg]
    weights = {name: value.detach().clone() for name, value in net.state_dict().items()}
    layer = next(name.removesuffix(".weight") for name, value in weights.items() if value.dim() == 4)
    mask = torch.arange(weights[f"{layer}.weight"].numel()).reshape(weights[f"{layer}.weight"].shape) % 2 == 0
    structure = {
        "network": {"name": "convnet", "width": 0.25},
        "input": {"shape": [1, 8, 8], "mean": [0.3], "std": [0.4]},
        "classes": [f"digit {i}" for i in range(10)],
    }
    about = {"trial": TRIAL, "seed": seed, "network_source": None, "metrics": {}}
    return LoadedTicket({layer: mask}, weights, weights, about, structure)


@pytest.fixture
def won(make_sweep: Make) -> Path:
    """A sweep with a real ticket that won."""
    folder = make_sweep(2)
    write_ticket(folder / "trials" / TRIAL / "ticket.safetensors", ticket(1))
    write_sealed(folder / "winners.json", {"winners": [WINNER]})
    return folder


def sync(folder: Path, status: str = "FINISHED") -> None:
    """A pass of a new process, without anything wrong."""
    assert Tracker(folder, "tiny", Tracking(), patience=30).sync(status=status).message is None


def versions(folder: Path) -> list:
    """All versions of all registered models."""
    return list(connect(own_database(folder)).search_model_versions())


@pytest.mark.slow
def test_the_winner_needs_mlflow_and_torch_alone(won: Path, tmp_path: Path) -> None:
    sync(won)
    uri = own_database(won)
    version = connect(uri).get_model_version_by_alias("tiny", "s90")
    assert (version.tags["trial"], version.tags["accuracy/test"]) == (TRIAL, "0.8")
    assert version.description == WINNER["said"]
    assert version.run_id == runs(uri)[TRIAL][0].info.run_id
    pixels = np.random.default_rng(3).integers(0, 256, (7, 1, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    files = [str(tmp_path / "pixels.npy"), str(tmp_path / "logits.npy")]
    subprocess.run([sys.executable, "-c", PROGRAM, uri, "models:/tiny@s90", *files], check=True, cwd=tmp_path)
    made = ticket(1)
    net, (layer, mask) = made.network(), next(iter(made.masks.items()))
    net.get_submodule(layer).weight.data[~mask] = 0
    with torch.no_grad():
        expected = net((torch.from_numpy(pixels) / 255 - 0.3) / 0.4).numpy()
    assert np.allclose(np.load(tmp_path / "logits.npy"), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_winner_is_registered_once_and_anew_when_it_changed(won: Path) -> None:
    for _ in range(2):
        sync(won)
    assert [int(version.version) for version in versions(won)] == [1]
    write_ticket(won / "trials" / TRIAL / "ticket.safetensors", ticket(2))
    sync(won)
    assert connect(own_database(won)).get_model_version_by_alias("tiny", "s90").version in (2, "2")
    assert {
        alias: int(number) for alias, number in connect(own_database(won)).get_registered_model("tiny").aliases.items()
    } == {"s90": 2}


def test_a_sweep_that_was_stopped_registers_nothing(won: Path) -> None:
    sync(won, "KILLED")
    assert versions(won) == []


def test_a_ticket_that_cannot_be_used_is_named_and_all_else_is_there(won: Path) -> None:
    (won / "trials" / TRIAL / "ticket.safetensors").write_bytes(b"nothing")
    report = Tracker(won, "tiny", Tracking(), patience=30).sync(status="FINISHED")
    assert f"first the model of {TRIAL}: " in (report.message or "")
    assert "not a safetensors file" in (report.message or "")
    assert sorted(report.logged) == ["convnet_random_s90_seed0", TRIAL]
