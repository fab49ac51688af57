"""A structurally pruned network rebuilt from its weights' shapes computes what the one pruned by hand does."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from orchestrator.engine.files import digest
from orchestrator.engine.nets import build, fitted, skeleton, structure_of
from orchestrator.spec.models import Model

CIFAR = (3, 32, 32)


def _build(name: str, **options: float) -> nn.Module:
    """A network in evaluation mode whose batch norms are not the identity."""
    net = build(Model(name=name, **options), 10, CIFAR, seed=1)
    draw = torch.Generator().manual_seed(2)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                tensor.data = torch.rand(tensor.shape, generator=draw) + 0.5
    return net.eval()


def _slice(module: nn.Module, keep: Sequence[int], dim: int = 0) -> None:
    """Keep some channels of a convolution, linear map or batch norm, by hand: outputs (0) or inputs (1)."""
    keep = torch.tensor(keep)
    for name, parameter in list(module.named_parameters()):
        if parameter.dim() > dim:
            setattr(module, name, nn.Parameter(parameter.data.index_select(dim, keep)))
    if isinstance(module, nn.BatchNorm2d):
        module.running_mean, module.running_var = module.running_mean[keep], module.running_var[keep]
        module.num_features = len(keep)
    elif isinstance(module, nn.Linear):
        setattr(module, ("out_features", "in_features")[dim], len(keep))
    elif isinstance(module, nn.Conv2d):
        if module.groups == module.in_channels and dim == 0:  # depthwise
            module.groups = module.in_channels = len(keep)
        setattr(module, ("out_channels", "in_channels")[dim], len(keep))


def _same(net: nn.Module, pruned: nn.Module, shape: tuple[int, int, int] = CIFAR) -> nn.Module:
    """Rebuild `pruned` from its state dict and compare logits; also from the network on the meta device."""
    state = pruned.state_dict()
    made = fitted(net, state, shape)
    made.load_state_dict(state)
    images = torch.randn(3, *shape, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = pruned.eval()(images)
        assert torch.equal(made.eval()(images), expected)
        assert expected.abs().sum() > 0
    assert structure_of(made) == structure_of(state)
    return made


def test_a_plain_network() -> None:
    net = _build("convnet")
    pruned = copy.deepcopy(net)
    for convolution, norm, following, keep in (
        (pruned.conv1, pruned.bn1, pruned.conv2, [1, 4, 5]),
        (pruned.conv2, pruned.bn2, pruned.conv3, range(0, 32, 3)),
        (pruned.conv3, pruned.bn3, pruned.fc, range(7, 60)),
    ):
        _slice(convolution, keep)
        _slice(norm, keep)
        _slice(following, keep, dim=1)
    made = _same(net, pruned)
    assert (made.conv2.in_channels, made.conv2.out_channels, made.bn2.num_features) == (3, 11, 11)
    assert (made.fc.in_features, made.fc.out_features) == (53, 10)
    assert net.conv1.weight.shape == (16, 3, 3, 3)


@pytest.mark.parametrize("name", ["resnet20", "resnet50_cifar"])
def test_the_inner_channels_of_a_residual_block(name: str) -> None:
    net = _build(name, width=0.5 if name == "resnet20" else 0.125)
    pruned = copy.deepcopy(net)
    block = pruned.stage2[0]
    _slice(block.conv1, [0, 2, 3])
    _slice(block.bn1, [0, 2, 3])
    _slice(block.conv2, [0, 2, 3], dim=1)
    _same(net, pruned)


def test_a_whole_block_and_an_empty_shortcut() -> None:
    net = _build("resnet20", width=0.5)
    pruned = copy.deepcopy(net)
    pruned.stage1[0], pruned.stage3[2] = nn.Identity(), nn.Identity()
    made = _same(net, pruned)
    assert isinstance(made.stage1[0], nn.Identity)
    assert isinstance(made.stage3[2], nn.Identity)
    assert isinstance(made.stage1[1].shortcut, nn.Sequential)
    assert made.residual is True


def test_depthwise_groups_follow() -> None:
    net = _build("mobilenet_v2_cifar", width=0.25)
    pruned = copy.deepcopy(net)
    block, keep = pruned.blocks[2], [0, 3, 4, 7, 11]
    for stage in (block.expand, block.depthwise):
        _slice(stage[0], keep)
        _slice(stage[1], keep)
    _slice(block.project[0], keep, dim=1)
    made = _same(net, pruned)
    convolution = made.blocks[2].depthwise[0]
    assert (convolution.groups, convolution.in_channels, convolution.out_channels) == (5, 5, 5)


def test_a_vgg_without_some_filters_and_a_layer() -> None:
    net = _build("vgg11")
    pruned = copy.deepcopy(net)
    layers = pruned.features
    _slice(layers[0], range(10))
    _slice(layers[1], range(10))
    _slice(layers[4], range(10), dim=1)
    last = max(i for i, layer in enumerate(layers) if isinstance(layer, nn.Conv2d))
    layers[last], layers[last + 1] = nn.Identity(), nn.Identity()
    made = _same(net, pruned)
    assert isinstance(made.features[last], nn.Identity)
    assert isinstance(made.features[last + 2], nn.ReLU)


class Grouped(nn.Module):
    def __init__(self, before: int, after: int, groups: int, outer: int = 12) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, before, 1)
        self.norm = nn.GroupNorm(2, before)
        self.grouped = nn.Conv2d(before, after, 3, padding=1, groups=groups)
        self.last = nn.Conv2d(after, outer, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.grouped(self.norm(self.first(x)))))


@pytest.mark.parametrize(
    ("before", "after", "groups"),
    # whole groups gone; channels of each group gone; inputs alone; outputs alone (which the shape alone does not tell
    # from whole groups: the layer before does)
    [(8, 8, 2), (8, 8, 4), (8, 16, 4), (16, 8, 4)],
)
def test_groups_are_those_that_the_layer_before_fits(before: int, after: int, groups: int) -> None:
    torch.manual_seed(0)
    made = _same(Grouped(16, 16, 4), Grouped(before, after, groups), (3, 5, 5))
    assert (made.grouped.groups, made.grouped.in_channels, made.norm.num_channels) == (groups, before, before)


def test_groups_of_torchvisions_resnext_that_are_gone() -> None:
    net = _build("resnext50_32x4d")
    pruned = copy.deepcopy(net)
    block, keep = pruned.layer1[1], range(64)
    for module in (block.conv1, block.bn1, block.conv2, block.bn2):
        _slice(module, keep)
    _slice(block.conv3, keep, dim=1)
    block.conv2.groups, block.conv2.in_channels = 16, 64
    made = _same(net, pruned)
    assert (made.layer1[1].conv2.groups, made.layer1[2].conv2.groups) == (16, 32)


class Tied(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(4, width), nn.Linear(width, width), nn.Linear(4, width)
        self.last.weight = self.first.weight
        self.again = self.middle

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.again(self.middle(self.first(x))) + self.last(x)


def test_what_is_shared_stays_shared() -> None:
    made = fitted(Tied(8), Tied(5).state_dict())
    assert made.last.weight is made.first.weight
    assert made.again is made.middle
    assert made.middle.weight.shape == (5, 5)


def test_a_skeleton_is_fitted_without_values_and_equal_shapes_leave_the_network_as_it_is() -> None:
    net = _build("resnet8", width=0.5)
    state = net.state_dict()
    state["stage1.0.conv1.weight"] = state["stage1.0.conv1.weight"][:3]
    for name in ("weight", "bias", "running_mean", "running_var"):
        state[f"stage1.0.bn1.{name}"] = state[f"stage1.0.bn1.{name}"][:3]
    state["stage1.0.conv2.weight"] = state["stage1.0.conv2.weight"][:, :3]
    bare = fitted(skeleton(Model(name="resnet8", width=0.5), 10, CIFAR), state, CIFAR)
    assert all(tensor.is_meta for tensor in bare.state_dict().values())
    assert structure_of(bare) == structure_of(state)
    same = fitted(net, net.state_dict())
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in same.state_dict().items())


def test_memory_format_and_frozen_parameters_stay() -> None:
    net = _build("convnet").to(memory_format=torch.channels_last)
    net.conv2.weight.requires_grad = False
    state = net.state_dict()
    state["conv1.weight"], state["conv2.weight"] = state["conv1.weight"][:4], state["conv2.weight"][:, :4]
    for name in ("weight", "bias", "running_mean", "running_var"):
        state[f"bn1.{name}"] = state[f"bn1.{name}"][:4]
    made = fitted(net, state)
    assert made.conv2.weight.is_contiguous(memory_format=torch.channels_last)
    assert not made.conv2.weight.requires_grad
    assert made.conv1.weight.requires_grad


def test_structures_are_named_by_their_shapes() -> None:
    net = _build("convnet", width=0.25)
    masked = {name: value * 0 for name, value in net.state_dict().items()}
    assert structure_of(masked) == structure_of(net)
    reordered = dict(reversed(net.state_dict().items()))
    assert digest(structure_of(reordered)) == digest(structure_of(net))
    smaller = structure_of(_build("convnet", width=0.2))
    assert digest(smaller) != digest(structure_of(net))
    assert structure_of(net)["conv1.weight"] == [4, 3, 3, 3]


def _changed(**changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    state = _build("convnet", width=0.25).state_dict()
    for name, value in changes.items():
        name = name.replace("__", ".")
        if value is None:
            del state[name]
        else:
            state[name] = value
    return state


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (_changed(conv9__weight=torch.zeros(1)), "the weights hold conv9.weight, which the network has not"),
        (
            {f"x{i}": torch.zeros(1) for i in range(7)},
            "the weights hold x0, x1, x2, x3, x4 (7 in all), which the network has not",
        ),
        ({}, "the weights are empty"),
        (_changed(fc__bias=None), "the weights lack fc.bias, and hold other tensors of the same modules"),
        (_changed(fc__bias=torch.zeros(9)), "fc.bias is (9,), and its Linear can be made (10,)"),
        (
            _changed(conv1__weight=torch.zeros(4, 3, 5, 5)),
            "conv1.weight is (4, 3, 5, 5), and its Conv2d can be made (4, 3, 3, 3)",
        ),
        (
            _changed(bn1__running_mean=torch.zeros(3)),
            "bn1.running_mean is (3,), and its BatchNorm2d can be made (4,)",
        ),
        (_changed(fc__weight=torch.zeros(10)), "fc.weight is (10,), and its Linear can be made (10, 16)"),
    ],
)
def test_what_cannot_be_made_to_fit_is_named(state: dict[str, torch.Tensor], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        fitted(_build("convnet", width=0.25), state)


def test_a_vgg_without_a_layer_trains() -> None:
    """Of two activations in a row that both wrote in place, the first one's gradient could not be computed."""
    net = build(Model(name="vgg11"), 10, CIFAR, seed=1)
    gone = [str(at) for at, module in enumerate(net.features) if isinstance(module, nn.Conv2d)][3]
    names = tuple(f"features.{at}." for at in (gone, int(gone) + 1))
    left = {name: value for name, value in net.state_dict().items() if not name.startswith(names)}
    made = fitted(net, left)
    made(torch.randn(2, *CIFAR)).sum().backward()
    assert all(parameter.grad is not None for parameter in made.parameters())
    assert all(module.inplace for module in net.modules() if isinstance(module, nn.ReLU))


def test_layers_that_do_not_fit_each_other_are_found_by_an_image() -> None:
    state = _changed(conv2__weight=torch.zeros(8, 3, 3, 3))
    net = _build("convnet", width=0.25)
    assert fitted(net, state).conv2.in_channels == 3
    with pytest.raises(ValueError, match=r"do not fit each other: at or after layer 'conv2': RuntimeError: "):
        fitted(net, state, CIFAR)


def test_modules_of_other_kinds_and_odd_groups_keep_their_shape() -> None:
    norm = nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(4, 8))
    state = nn.Sequential(nn.Conv2d(3, 6, 1), nn.GroupNorm(2, 6)).state_dict()
    with pytest.raises(ValueError, match=re.escape("1.weight is (6,), and its GroupNorm can be made (8,)")):
        fitted(norm, state)
    attention = nn.Sequential(nn.MultiheadAttention(8, 2))
    with pytest.raises(ValueError, match=re.escape("its MultiheadAttention can be made (24, 8)")):
        fitted(attention, nn.Sequential(nn.MultiheadAttention(4, 2)).state_dict())
    with pytest.raises(ValueError, match=re.escape("grouped.weight is (6, 5, 3, 3), and its Conv2d can be made")):
        fitted(Grouped(16, 16, 4), Grouped(16, 16, 4).state_dict() | {"grouped.weight": torch.zeros(6, 5, 3, 3)})
