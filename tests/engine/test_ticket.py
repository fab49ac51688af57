"""A ticket's file: all that it holds comes back, its network is built from it alone, and damage is noticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tickets import GRANULARITIES, normalised, pixels, ticket
from trial_runs import only, run_all

from orchestrator.api import load_ticket
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.nets import build
from orchestrator.engine.results import METRICS
from orchestrator.engine.setting import Setting
from orchestrator.engine.ticket import TicketError, write_ticket
from orchestrator.spec.models import Spec

MakeSpec = Callable[..., Spec]


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_a_ticket_comes_back_with_its_network(granularity: str, tmp_path: Path) -> None:
    weights, masks, net = GRANULARITIES[granularity]()
    written = ticket(weights, masks)
    write_ticket(tmp_path / "ticket.safetensors", written)
    with pytest.raises(TicketError, match=r"network is code, 'plain_nets:make', .* say --allow-code"):
        load_ticket(tmp_path).network()
    read = load_ticket(tmp_path, allow_code=True)
    for part in ("masks", "start", "weights"):
        mine, theirs = getattr(written, part), getattr(read, part)
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert (read.provenance, read.structure) == (written.provenance, written.structure)
    images = normalised(pixels())
    with torch.no_grad():
        torch.testing.assert_close(read.network()(images), net(images), rtol=0, atol=1e-5)
    assert not read.network().training


def test_a_trials_ticket_says_what_it_is_of(make_spec: MakeSpec, folder: SweepFolder) -> None:
    spec = make_spec(methods=[{"name": "random", "ratio": "erk"}], seeds=[3])
    result = only(run_all(folder, spec))
    read, setting = load_ticket(folder.trial(result["trial"])), Setting(spec, spec.model[0])
    about = read.provenance
    for name in ("trial", "key", "sweep", "model", "method", "label", "options", "sparsity", "seed", "versions"):
        assert about[name] == result[name]
    assert about["sparsity"] == 0.9
    assert about["data_fingerprint"] == setting.data.fingerprint
    assert about["network_source"] is None
    assert about["recipe"]["epochs"] == 2
    machine = {name for name in METRICS if name.startswith(("cost/", "latency/"))}
    assert about["metrics"] == {n: v for n, v in result["metrics"].items() if n not in machine}
    assert about["metrics"]["accuracy/test"] == result["metrics"]["accuracy/test"]
    assert read.structure == {
        "network": {"name": "convnet", "width": 0.25},
        "input": {"shape": [1, 8, 8], "mean": list(setting.data.mean), "std": list(setting.data.std)},
        "classes": [str(i) for i in range(10)],
    }
    net = build(spec.model[0], 10, (1, 8, 8), 3)
    net.load_state_dict(read.weights)
    images = torch.randn(4, 1, 8, 8)
    assert torch.equal(read.network()(images), net.eval()(images))


@pytest.mark.parametrize("place", [b"by_hand", b"digit 3", "end"])
def test_a_changed_byte_is_noticed(place: bytes | str, tmp_path: Path) -> None:
    weights, masks, _ = GRANULARITIES["weight"]()
    path = tmp_path / "ticket.safetensors"
    write_ticket(path, ticket(weights, masks))
    content = bytearray(path.read_bytes())
    at = len(content) - 1 if place == "end" else content.index(place)
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(TicketError, match=r"ticket\.safetensors: is damaged, .*; copy it again, or remove it and the"):
        load_ticket(path)


def test_a_truncated_ticket_is_refused(tmp_path: Path) -> None:
    weights, masks, _ = GRANULARITIES["weight"]()
    path = tmp_path / "ticket.safetensors"
    write_ticket(path, ticket(weights, masks))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TicketError, match="not a safetensors file"):
        load_ticket(path)
