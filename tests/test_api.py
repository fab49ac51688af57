"""What a Python session sees of Jackpot."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import orchestrator
from orchestrator.api import results
from orchestrator.engine.files import write_sealed
from orchestrator.engine.folder import FolderError
from orchestrator.engine.ticket import LoadedTicket


def test_what_it_offers_is_listed() -> None:
    assert {"run", "results", "load_ticket", "export"} <= set(dir(orchestrator))
    assert orchestrator.results is results


def test_a_ticket_is_shown_without_its_tensors() -> None:
    weights = {"fc.weight": torch.zeros(2, 2)}
    assert repr(LoadedTicket(weights, weights, weights, {"seed": 0}, {})) == "LoadedTicket(provenance={'seed': 0})"


def test_results_of_a_sweep_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_sealed(tmp_path / "sweeps/mine/plan.json", {"planned": [{"trial": "t", "key": "k"}], "run": "r"})
    for given in ("mine", tmp_path / "sweeps/mine"):
        assert list(results(given)["status"]) == ["missing"]
    with pytest.raises(FolderError, match=r"^yours: no sweep here; .*; in ./sweeps: mine$"):
        results("yours")
