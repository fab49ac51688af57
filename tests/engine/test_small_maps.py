"""Convolutions as matrix products compute what torch's do, and learn the same."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from orchestrator.engine.nets import build
from orchestrator.engine.nets.placing import placed
from orchestrator.engine.nets.small_maps import SmallMapConv2d, computes, convolve
from orchestrator.spec.models import Model

CPU = torch.device("cpu")


def _drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 2), (3, 2), (4, 4), (5, 3)], ids=str)
def test_it_is_a_convolution(size: tuple[int, int], biased: bool) -> None:
    images, weight = _drawn(3, 2, *size).requires_grad_(), _drawn(5, 2, 3, 3).requires_grad_()
    bias = _drawn(5).requires_grad_() if biased else None
    torch.testing.assert_close(convolve(images, weight, bias), F.conv2d(images, weight, bias, padding=1))
    assert torch.autograd.gradcheck(convolve, (images, weight, bias))
    assert torch.autograd.gradgradcheck(convolve, (images, weight, bias))


@pytest.mark.parametrize("wanted", range(3))
def test_a_gradient_that_is_not_wanted_is_not_made(wanted: int) -> None:
    parts = [_drawn(2, 3, 2, 2), _drawn(4, 3, 3, 3), _drawn(4)]
    parts[wanted].requires_grad_()
    assert torch.autograd.gradcheck(convolve, parts)


def test_in_bfloat16_it_is_as_near_as_torchs() -> None:
    images, weight, bias = _drawn(8, 64, 4, 4), _drawn(32, 64, 3, 3), _drawn(32)
    module = SmallMapConv2d(64, 32, 3, padding=1)
    with torch.no_grad():
        module.weight.copy_(weight)
        module.bias.copy_(bias)
    with torch.autocast("cpu", torch.bfloat16):
        own, others = module(images.float()), F.conv2d(images.float(), module.weight, module.bias, padding=1)
    assert own.dtype == others.dtype == torch.bfloat16
    exact = F.conv2d(images, weight, bias, padding=1)
    off, others_off = ((each.detach() - exact).abs().max() for each in (own, others))
    assert off < 2 * others_off
    own.sum().backward()
    assert module.weight.grad.dtype == module.bias.grad.dtype == torch.float32


def test_gradients_have_the_strides_of_their_weights() -> None:
    module = SmallMapConv2d(16, 8, 3, padding=1).to(memory_format=torch.channels_last)
    module(torch.randn(4, 16, 2, 2).to(memory_format=torch.channels_last)).sum().backward()
    assert module.weight.grad.stride() == module.weight.stride()


@pytest.mark.parametrize(
    "options",
    [{"stride": 2}, {"dilation": 2}, {"padding": 0}, {"groups": 2}, {"padding_mode": "circular"}, {"kernel_size": 5}],
    ids=str,
)
def test_what_is_computed_otherwise(options: dict[str, object]) -> None:
    assert computes(nn.Conv2d(4, 4, 3, padding="same"))
    assert not computes(nn.Conv2d(4, 4, **{"kernel_size": 3, "padding": 1, **options}))  # type: ignore[arg-type]


def test_vgg_trains_with_it_and_computes_once_without() -> None:
    net = build(Model(name="vgg11"), 10, (3, 32, 32), seed=1)
    trains, computes_once = (placed(copy.deepcopy(net), CPU, (3, 32, 32), trains=each) for each in (True, False))
    own = [name for name, module in trains.named_modules() if isinstance(module, SmallMapConv2d)]
    wide = [
        name for name, module in net.named_modules() if isinstance(module, nn.Conv2d) and module.out_channels == 512
    ]
    assert own == wide
    assert not any(isinstance(module, SmallMapConv2d) for module in computes_once.modules())
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for each in (net, trains):
        F.cross_entropy(each(images.to(memory_format=torch.channels_last)), torch.arange(8)).backward()
    for (name, plain), fast in zip(net.named_parameters(), trains.parameters(), strict=True):
        off = (fast.grad - plain.grad).norm() / plain.grad.norm().clamp_min(1e-3)
        assert off < 1e-3, name
    assert trains.state_dict().keys() == net.state_dict().keys()
