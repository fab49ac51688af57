"""Weights to start from: what is loaded, and what is said of weights that do not fit."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from orchestrator.engine.nets import ModelError, build, check_model, load_weights, skeleton, weights_fingerprint
from orchestrator.spec.models import Model

SHAPE = (1, 8, 8)
MODEL = Model(name="convnet", width=0.25)


@pytest.fixture
def trained() -> nn.Module:
    return build(MODEL, 10, SHAPE, seed=7)


def _save(state: Any, path: Path) -> str:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


def _refused(weights: str, net: nn.Module | None = None) -> str:
    with pytest.raises(ModelError) as raised:
        load_weights(net or build(MODEL, 10, SHAPE, 0), weights)
    ((path, message),) = raised.value.problems
    assert path == ("weights",)
    return message


@pytest.mark.parametrize(("ending", "wrapped"), [("safetensors", False), ("pt", False), ("pth", False), ("pt", True)])
def test_weights_of_a_file_are_loaded(ending: str, wrapped: bool, trained: nn.Module, tmp_path: Path) -> None:
    state = trained.state_dict()
    weights = _save({"state_dict": state, "epoch": 3} if wrapped else state, tmp_path / f"dense.{ending}")
    net = build(MODEL, 10, SHAPE, seed=0)
    load_weights(net, weights)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert weights_fingerprint(weights) == hashlib.sha256(Path(weights).read_bytes()).hexdigest()
    assert check_model(Model(name="convnet", width=0.25, weights=weights), 10, SHAPE) == []


def test_what_does_not_fit_is_listed_by_kind(trained: nn.Module, tmp_path: Path) -> None:
    state = trained.state_dict()
    del state["fc.bias"]
    state["extra"] = torch.zeros(1)
    state["fc.weight"] = torch.zeros(5, 16)
    weights = _save(state, tmp_path / "other.safetensors")
    expected = (
        f"{weights}: does not fit the network: 1 missing: fc.bias; 1 unexpected: extra; 1 other shapes: "
        "fc.weight (5, 16) instead of (10, 16)"
    )
    assert _refused(weights) == expected
    assert check_model(MODEL.model_copy(update={"weights": weights}), 10, SHAPE) == [(("weights",), expected)]


def test_weights_that_do_not_fit_leave_the_network_as_it_was(trained: nn.Module, tmp_path: Path) -> None:
    state = trained.state_dict() | {"fc.bias": torch.zeros(3)}
    net = build(MODEL, 10, SHAPE, seed=0)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    _refused(_save(state, tmp_path / "x.pt"), net)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_of_many_names_five_are_shown(tmp_path: Path) -> None:
    weights = _save({f"layer{i}": torch.zeros(1) for i in range(7)}, tmp_path / "x.safetensors")
    assert "7 unexpected: layer0, layer1, layer2, layer3, layer4, ..." in _refused(weights)


def test_a_missing_file_is_named() -> None:
    message = "none.pt: cannot be read (No such file or directory); a relative path starts at the current folder"
    assert _refused("none.pt") == message
    assert check_model(Model(name="convnet", weights="none.pt"), 10, SHAPE) == [(("weights",), message)]
    with pytest.raises(ModelError):
        weights_fingerprint("none.pt")


@pytest.mark.parametrize(
    ("ending", "said"), [("safetensors", "not a safetensors file"), ("pt", "is damaged, or holds more than tensors")]
)
@pytest.mark.parametrize("content", [b"", b"garbage" * 20])
def test_a_broken_file_is_named(ending: str, said: str, content: bytes, tmp_path: Path) -> None:
    file = tmp_path / f"broken.{ending}"
    file.write_bytes(content)
    assert _refused(str(file)).startswith(f"{file}: {said}")


class _Payload:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("ran-code"),))


def test_loading_never_runs_a_files_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(_Payload(), protocol=2))
    torch.save({"state_dict": _Payload()}, tmp_path / "evil.pth")
    for name in ("evil.pt", "evil.pth"):
        assert "is damaged, or holds more than tensors" in _refused(name)
    assert not (tmp_path / "ran-code").exists()


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.zeros(2)])
def test_a_file_without_a_state_dict_is_refused(content: Any, tmp_path: Path) -> None:
    weights = _save(content, tmp_path / "x.pt")
    assert _refused(weights) == f"{weights}: holds no state_dict; save the network's state_dict() with torch.save"


def test_torchvision_weights_are_known_by_name_without_a_download() -> None:
    first, other = (weights_fingerprint(f"ResNet50_Weights.IMAGENET1K_V{version}") for version in (1, 2))
    assert len(first) == 64
    assert first != other
    model = Model(name="torchvision.models:resnet18", weights="ResNet18_Weights.IMAGENET1K_V1")
    assert check_model(model, 1000, (3, 64, 64)) == []


def test_torchvision_weights_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import ResNet18_Weights

    model = Model(name="torchvision.models:resnet18")
    state = build(model, 1000, (3, 64, 64), seed=5).state_dict()
    asked = {}
    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", lambda self, **options: asked.update(options) or state)
    net = build(model, 1000, (3, 64, 64), seed=0)
    load_weights(net, "ResNet18_Weights.IMAGENET1K_V1")
    assert asked["check_hash"] is True
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_an_unknown_name_gives_the_nearest() -> None:
    message = (
        "unknown weights 'ResNet18_Weights.IMAGENET1K_V3'; did you mean 'ResNet18_Weights.IMAGENET1K_V1'? expected "
        "a .safetensors, .pt, .pth file or the name of torchvision weights, e.g. ResNet18_Weights.IMAGENET1K_V1"
    )
    assert _refused("ResNet18_Weights.IMAGENET1K_V3") == message
    for name in ("dense.onnx", "nonsense", "Res.Net.Weights"):
        assert _refused(name).startswith(f"unknown weights {name!r}; ")


def test_checking_weights_needs_no_values(trained: nn.Module, tmp_path: Path) -> None:
    weights = _save(trained.state_dict(), tmp_path / "x.pt")
    net = skeleton(MODEL, 12, SHAPE)
    assert "2 other shapes: fc.weight (10, 16) instead of (12, 16), fc.bias (10,) instead of (12,)" in _refused(
        weights, net
    )
