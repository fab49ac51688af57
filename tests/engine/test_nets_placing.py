"""Networks where they compute: in channels_last, but for convolutions that die or are slow in it."""

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
        net = placed(copy.deepcopy(plain), CPU, (3, 8, 8))
        images = torch.randn(33, 3, 8, 8)
        for _ in range(20):  # a heap that is overrun shows only later
            for each, given in ((plain, images), (net, images.to(memory_format=torch.channels_last))):
                each.zero_grad()
                each(given).square().mean().backward()
        for own, other in zip(plain.parameters(), net.parameters(), strict=True):
            assert torch.allclose(own.grad, other.grad, rtol=1e-4, atol=1e-6), inputs
        assert torch.allclose(plain(images), net(images), rtol=1e-4, atol=1e-6)


def test_all_other_weights_are_channels_last():
    net = placed(shortcut(16), CPU, (3, 8, 8))
    assert net[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert not net[1]._forward_pre_hooks
    assert len(placed(shortcut(4), CPU, (3, 8, 8))[1]._forward_pre_hooks) == 1


def test_many_channels_on_small_maps_compute_in_torchs_own_format():
    torch.manual_seed(0)
    wide = nn.Sequential(
        nn.Conv2d(3, 256, 3, padding=1),  # few inputs
        nn.BatchNorm2d(256),
        nn.Conv2d(256, 256, 3, padding=1),  # 8x8
        nn.MaxPool2d(2),
        nn.Conv2d(256, 256, 3, padding=1),  # 4x4
        nn.Conv2d(256, 256, 1),
        nn.Conv2d(256, 256, 3, padding=1, groups=256),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.Flatten(),
    )
    before = wide[1].running_mean.clone()
    net = placed(copy.deepcopy(wide), CPU, (3, 8, 8))
    own = [i for i, module in enumerate(net) if module._forward_pre_hooks]
    assert own == [4, 7]
    assert [i for i in own if net[i].weight.is_contiguous()] == own
    assert net[2].weight.is_contiguous(memory_format=torch.channels_last)
    assert net.training
    assert torch.equal(net[1].running_mean, before), "looking for them changes nothing"
    images = torch.randn(4, 3, 8, 8)
    for each, given in ((wide, images), (net, images.to(memory_format=torch.channels_last))):
        each(given).square().mean().backward()
    for plain, placed_ in zip(wide.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(placed_.grad, plain.grad, rtol=1e-3, atol=1e-5)
    seen = []
    net[4].register_forward_hook(lambda _, inputs, output: seen.append(output.stride()))
    net(images.to(memory_format=torch.channels_last))
    assert seen == [(4096, 16, 4, 1)]


def test_the_map_is_that_of_the_images_at_hand():
    net = nn.Sequential(nn.Conv2d(256, 256, 3, padding=1))
    assert placed(copy.deepcopy(net), CPU, (256, 4, 4))[0]._forward_pre_hooks
    assert not placed(copy.deepcopy(net), CPU, (256, 5, 4))[0]._forward_pre_hooks
    assert not placed(copy.deepcopy(net), CPU, (256, 4, 4), small_maps=False)[0]._forward_pre_hooks
    narrow = placed(shortcut(4), CPU, (3, 8, 8), small_maps=False)
    assert narrow[1]._forward_pre_hooks, "in channels_last it would write past its end"
