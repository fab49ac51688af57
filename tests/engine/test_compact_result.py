"""What is made of a masked network: its memory formats, what names its structure, and what cannot be made."""

import json

import pytest
import torch
from compact_nets import ONES, conv, emptied_before, norm, plain, points, tensors
from emptied import the_same
from torch import nn

from orchestrator.engine.compact import CompactError, compacted, flattened, in_channels_last, maps
from orchestrator.engine.compact.states import regular


def test_a_strided_1x1_convolution_that_becomes_small_keeps_its_own_format():
    torch.manual_seed(0)
    net = plain(a=nn.Conv2d(3, 9, 3, padding=1), b=nn.Conv2d(9, 8, 1, stride=2), c=nn.Conv2d(8, 8, 3))
    with torch.no_grad():
        net.a.weight[4:] = 0
        net.c.weight[:, 6:] = 0
    made = the_same(net, (3, 8, 8))
    assert made.layers == {"a": (4, 9), "b": (6, 8), "c": (8, 8)}
    assert tensors(made, "b_weight")[0].is_contiguous()
    assert tensors(made, "c_weight")[0].is_contiguous(memory_format=torch.channels_last)
    nodes = {node.name: node for node in made.net.graph.nodes}
    assert nodes["conv2d_1"].args[0].kwargs == {"memory_format": torch.contiguous_format}
    assert "clone" in flattened(plain(b=nn.Conv2d(3, 8, 1, stride=2)), (3, 8, 8)).code


def test_wide_convolutions_on_small_maps_keep_torchs_own_format_while_they_are_wide():
    torch.manual_seed(0)
    net = plain(a=nn.Conv2d(2, 260, 3, padding=1), b=nn.Conv2d(260, 256, 3), c=nn.Conv2d(256, 256, 1))
    with torch.no_grad():
        net.a.weight[258:] = 0
    made = the_same(net, (2, 6, 6))
    assert made.layers == {"a": (258, 260), "b": (256, 256), "c": (256, 256)}
    assert tensors(made, "b_weight")[0].is_contiguous()
    assert tensors(made, "a_weight")[0].is_contiguous(memory_format=torch.channels_last)
    assert torch.Tensor.contiguous in [node.target for node in made.net.graph.nodes]
    other, images = in_channels_last(made.net), torch.randn(3, 2, 6, 6)
    assert other.get_parameter("b_weight").is_contiguous(memory_format=torch.channels_last)
    assert torch.Tensor.contiguous not in [node.target for node in other.graph.nodes]
    torch.testing.assert_close(other(images), made.net(images))
    assert tensors(made, "b_weight")[0].is_contiguous(), "it is a copy"
    with torch.no_grad():
        net.a.weight[255:] = 0
    narrow = the_same(net, (2, 6, 6))
    assert narrow.layers["a"] == (255, 260)
    assert tensors(narrow, "b_weight")[0].is_contiguous(memory_format=torch.channels_last)
    assert torch.Tensor.contiguous not in [node.target for node in narrow.net.graph.nodes]


def test_structures_are_equal_where_shapes_and_operations_are():
    def made(channel, beta):
        weights = [[1.0], [1.0], [1.0]]
        weights[channel] = [0.0]
        betas = [0.0, 0.0, 0.0]
        betas[channel] = beta
        return compacted(
            plain(a=points(*weights), bn=norm(*betas), last=conv([[ONES] * 3], padding=1)), (1, 4, 4)
        ).structure

    assert made(0, 2.0) == made(2, 1.0)
    assert made(0, 2.0) != made(0, 0.0)  # no map
    assert json.loads(json.dumps(made(0, 2.0))) == made(0, 2.0)


def test_a_flattened_network_keeps_all_channels():
    net = emptied_before(conv([[ONES, ONES]], padding=1))
    flat = flattened(net, (1, 4, 4))
    images = torch.randn(2, 1, 4, 4)
    assert torch.allclose(flat(images), net(images))
    assert flat.get_parameter("first_weight").shape == (2, 1, 1, 1)


def test_a_network_that_cannot_be_made_compact_is_named_with_the_cause_and_the_remedy():
    class Moody(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    class Twofold(nn.Module):
        def forward(self, x):
            return x + 1, x + 2

    with pytest.raises(
        CompactError, match=r"^Moody: cannot be made compact: torch.export cannot make a program .*; use it as it is"
    ):
        compacted(Moody(), (1, 2, 2))
    with pytest.raises(CompactError, match=r"^Twofold: cannot be made compact: .*; use it as it is"):
        compacted(Twofold(), (1, 2, 2))


def test_a_wrong_result_is_never_given(monkeypatch):
    def all_known(value, dim, labels, known):
        return regular(value, dim, labels, torch.ones_like(known))

    monkeypatch.setattr(maps, "regular", all_known)
    with pytest.raises(CompactError, match="logits differ by"):
        compacted(plain(a=points([1], [2]), b=points([1, 1])), (1, 2, 2))
