"""A small network in each runtime: the same outputs, and errors that say what to do."""

from __future__ import annotations

import copy
import importlib.metadata

import pytest
import torch
from torch import nn

from orchestrator.engine import runtimes
from orchestrator.engine.latency import Timed
from orchestrator.engine.runtimes import Unavailable, checked, prepared, software
from orchestrator.engine.seeds import generator

IMAGES = torch.randn(4, 3, 8, 8, generator=generator(0, "images")).to(memory_format=torch.channels_last)


def small() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)).eval()


def outputs(timed: Timed) -> torch.Tensor:
    with torch.inference_mode():
        return timed.net(timed.images)


@pytest.mark.parametrize(
    "runtime", ["dense", "compact", "onnxruntime", pytest.param("compiled", marks=pytest.mark.slow)]
)
def test_every_runtime_computes_the_same(runtime: str) -> None:
    net = small()
    timed, seconds = prepared(runtime, copy.deepcopy(net), IMAGES)
    assert seconds > 0
    assert checked(timed, net, IMAGES) <= 1e-5
    with torch.inference_mode():
        torch.testing.assert_close(outputs(timed), net(IMAGES), rtol=1e-4, atol=1e-5)


def test_onnxruntime_runs_on_as_many_threads_as_torch_and_for_this_batch() -> None:
    timed, _ = prepared("onnxruntime", small(), IMAGES)
    options = timed.net.session.get_session_options()
    assert options.intra_op_num_threads == torch.get_num_threads()
    assert timed.net.session.get_inputs()[0].shape == [4, 3, 8, 8]
    assert timed.net.session.get_providers() == ["CPUExecutionProvider"]


def test_other_outputs_are_refused() -> None:
    net = small()
    wrong = copy.deepcopy(net)
    with torch.no_grad():
        wrong[-1].bias += 1
    with pytest.raises(Unavailable, match=r"its outputs differ .* more than 0.0001; leave it out of latency.runtimes"):
        checked(Timed(wrong, IMAGES), net, IMAGES)
    with torch.no_grad():
        wrong[-1].bias.fill_(float("nan"))
    with pytest.raises(Unavailable, match="nan"):
        checked(Timed(wrong, IMAGES), net, IMAGES)


class Choosing(nn.Module):
    """Another operation for other inputs: no tracer can follow it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))


def test_a_network_that_cannot_be_traced_is_said() -> None:
    with pytest.raises(Unavailable, match=r"Choosing: torch.export cannot make a program .* must be the same"):
        prepared("onnxruntime", Choosing().eval(), IMAGES)


@pytest.mark.slow
def test_a_network_that_cannot_be_compiled_is_said() -> None:
    with pytest.raises(Unavailable, match=r"torch.compile cannot compile .* same operations .* leave `compiled` out"):
        prepared("compiled", Choosing().eval(), IMAGES)


def test_the_software_is_named_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    assert software("dense") == software("compact") == f"torch {torch.__version__} eager"
    assert software("compiled") == f"torch {torch.__version__} inductor"
    assert software("onnxruntime") == f"onnxruntime {importlib.metadata.version('onnxruntime')}"

    monkeypatch.setenv("CXX", "")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable, match=r"there is no C\+\+ compiler, .*; install g\+\+, or name one in CXX"):
        software("compiled")

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(Unavailable, match="onnxruntime is not installed; `pip install onnxruntime`"):
        software("onnxruntime")


def test_a_gpu_needs_a_provider_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [])
    with pytest.raises(Unavailable, match="has no CPUExecutionProvider; `pip install onnxruntime-gpu`"):
        runtimes.prepared("onnxruntime", small(), IMAGES)
