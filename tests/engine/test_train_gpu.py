"""What only a GPU can show of a training: run where there is one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
from tiny_training import BF16, IMAGES, SGD, Noise, make_masks, make_net, make_recipe

from orchestrator.engine.data.sending import sent
from orchestrator.engine.train import Batch, Trainer, weights_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
GPU = torch.device("cuda")


class OnGPU(Noise):
    def training(self, plan: Iterable[tuple[torch.Tensor, torch.Generator]]) -> Iterator[Batch]:
        return ((sent(images, GPU), sent(labels, GPU)) for images, labels in super().training(plan))

    def evaluation(self, split: str) -> Iterator[Batch]:
        return ((images.to(GPU), labels.to(GPU)) for images, labels in super().evaluation(split))


def _trainer(options: dict[str, Any]) -> Trainer:
    net = make_net().to(GPU)
    net.get_submodule("dropout").p = 0.0  # type: ignore[assignment]  # whose draws are the device's
    return Trainer(net, OnGPU(), IMAGES, make_recipe(**options), 5, 0, make_masks(net))


@pytest.mark.parametrize("options", [SGD, BF16], ids=["float32", "bfloat16"])
def test_cuda_graphs_compute_what_eager_torch_does(options: dict[str, Any]) -> None:
    eager, compiled = _trainer(options), _trainer({**options, "compile": True})
    eager.run(12)
    compiled.run(12)
    close = {"rtol": 1e-2, "atol": 1e-4} if options is SGD else {"rtol": 0.05, "atol": 0.05}
    for name, value in weights_of(eager.state()).items():
        torch.testing.assert_close(compiled.state()[name], value, msg=name, **close)
    assert eager.progress.history[-1]["loss/train"] == pytest.approx(compiled.progress.history[-1]["loss/train"], 0.05)
    for name, mask in make_masks(compiled.net).items():
        assert not compiled.net.get_parameter(name)[~mask].any()


def test_a_compiled_run_goes_on_from_its_state() -> None:
    options = {**SGD, "compile": True}
    whole, part, continued = (_trainer(options) for _ in range(3))
    whole.run(12)
    part.run(5)
    continued.restore({name: value.clone() for name, value in part.state().items()})
    continued.run(12)
    for name, value in weights_of(whole.state()).items():
        torch.testing.assert_close(continued.state()[name], value, rtol=1e-3, atol=1e-5, msg=name)


def test_what_is_sent_comes_in_order() -> None:
    pieces = [torch.full((1000,), number) for number in range(200)]
    assert [int(sent(piece, GPU).sum()) for piece in pieces] == [1000 * number for number in range(200)]
