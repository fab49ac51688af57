"""Networks where they compute: small strided convolutions in a format in which they do not end the process."""

import copy

import torch
from torch import nn

from orchestrator.engine.nets.placing import placed

CPU = torch.device("cpu")


def shortcut(inputs, outputs=8):
    """What a narrow residual network's first block of a stage adds."""
    return nn.Sequential(nn.Conv2d(3, inputs, 3, padding=1), nn.Conv2d(inputs, outputs, 1, stride=2), nn.Flatten())


def test_a_narrow_strided_convolution_computes_and_learns_as_in_torchs_own_format():
    torch.manual_seed(0)
    for inputs in (1, 3, 4, 5, 7, 8, 13):
        plain = shortcut(inputs)
        net = placed(copy.deepcopy(plain), CPU)
        images = torch.randn(33, 3, 8, 8)
        for _ in range(20):  # a heap that is overrun shows only later
            for each, given in ((plain, images), (net, images.to(memory_format=torch.channels_last))):
                each.zero_grad()
                each(given).square().mean().backward()
        for own, other in zip(plain.parameters(), net.parameters(), strict=True):
            assert torch.allclose(own.grad, other.grad, rtol=1e-4, atol=1e-6), inputs
        assert torch.allclose(plain(images), net(images), rtol=1e-4, atol=1e-6)


def test_all_other_weights_are_channels_last():
    net = placed(shortcut(16), CPU)
    assert net[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert not net[1]._forward_pre_hooks
    assert len(placed(shortcut(4), CPU)[1]._forward_pre_hooks) == 1
