"""The built-in networks: counts, order and initial weights as the specification of tickets gives them."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from methods.layers import prunable_layers
from orchestrator.engine import nets
from orchestrator.engine.data import Batches, load_data
from orchestrator.engine.nets import ModelError, build, check_model, skeleton
from orchestrator.spec.data import Digits
from orchestrator.spec.models import Augmentation, Model

CIFAR = (3, 32, 32)


def _counts(name: str, shape: tuple[int, int, int] = CIFAR, classes: int = 10, **options: Any) -> tuple[int, int]:
    layers = prunable_layers(skeleton(Model(name=name, **options), classes, shape))
    return len(layers), sum(layer.weights for layer in layers)


@pytest.mark.parametrize(
    ("name", "options", "layers", "weights"),
    [
        ("vgg19", {}, 17, 20_024_000),
        ("resnet32", {"width": 2}, 34, 1_855_584),
        ("convnet", {}, 4, 24_112),
        # 432 stem + 2 * 9 * 16 * 16 + (9 * 16 * 32 + 9 * 32 * 32 + 16 * 32) + the same at 32, 64 + 640
        ("resnet8", {}, 10, 77_360),
        ("resnet20", {}, 22, 270_896),
        ("resnet56", {}, 58, 851_504),
        # as resnet8, with 36 convolutions a stage: 432 + 36 * 16^2 * 9 + ... ; "1.7M" in He et al., table 6
        ("resnet110", {}, 112, 1_722_416),
        ("resnet8", {"width": 0.5}, 10, 19_608),
    ],
)
def test_layers_and_prunable_weights(name: str, options: dict[str, Any], layers: int, weights: int) -> None:
    assert _counts(name, **options) == (layers, weights)


def _parameters(name: str, shape: tuple[int, int, int] = CIFAR, **options: Any) -> int:
    return sum(each.numel() for each in skeleton(Model(name=name, **options), 10, shape).parameters())


@pytest.mark.parametrize(
    ("name", "options", "shape", "parameters"),
    [
        # 784 * 300 + 300 * 100 + 100 * 10 weights and 410 biases: the 267K of Han et al. 2015, table 3
        ("lenet_300_100", {}, (1, 28, 28), 266_610),
        # the 431K there: 20 * 25 + 50 * 20 * 25 + 800 * 500 + 500 * 10 weights and 580 biases
        ("lenet5", {"caffe": True}, (1, 28, 28), 431_080),
        # 6 * 25 + 16 * 6 * 25 + 400 * 120 + 120 * 84 + 84 * 10 weights and 236 biases, for LeCun's padded digits
        ("lenet5", {}, (1, 28, 28), 61_706),
        ("lenet5", {}, (1, 32, 32), 61_706),
        # convolutions 1,792 + 73,856 + 295,168, batch norms 2 * 448, classifier 2,570
        ("conv3", {}, CIFAR, 374_282),
        # figures that public CIFAR implementations of these two agree on
        ("resnet18_cifar", {}, CIFAR, 11_173_962),
        ("resnet50_cifar", {}, CIFAR, 23_520_842),
    ],
)
def test_parameters(name: str, options: dict[str, Any], shape: tuple[int, int, int], parameters: int) -> None:
    assert _parameters(name, shape, **options) == parameters


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("vgg11", [64, 128, 256, 256, 512, 512, 512, 512]),
        ("vgg16", [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]),
    ],
)
def test_parameters_of_the_vggs(name: str, channels: list[int]) -> None:
    weights = [9 * i * o for i, o in itertools.pairwise([3, *channels])] + [512 * 10]
    assert _counts(name) == (len(channels) + 1, sum(weights))
    assert _parameters(name) == sum(weights) + 3 * sum(channels) + 10  # biases, batch norms' two, the classifier's


def test_parameters_of_mobilenet() -> None:
    layers, inputs = [(3, 32)], 32  # outputs of each convolution, and the weights of each of them
    blocks = [(16, 1)] + [(24, 6)] * 2 + [(32, 6)] * 3 + [(64, 6)] * 4 + [(96, 6)] * 3 + [(160, 6)] * 3 + [(320, 6)]
    for outputs, expansion in blocks:
        inner = inputs * expansion
        layers += [(inputs, inner), (9, inner), (inner, outputs)]
        inputs = outputs
    layers.append((320, 1280))
    weights = sum(each * outputs for each, outputs in layers) + 1280 * 10
    assert _counts("mobilenet_v2_cifar") == (len(layers) + 1, weights)
    assert _parameters("mobilenet_v2_cifar") == weights + 3 * sum(outputs for _, outputs in layers) + 10


def test_mobilenet_halves_the_image_three_times() -> None:
    net = build(Model(name="mobilenet_v2_cifar", width=0.125), 10, CIFAR, 0)
    sizes = []
    for block in net.blocks:
        block.register_forward_hook(lambda module, given, made: sizes.append(made.shape[-1]))
    net(torch.zeros(2, *CIFAR))
    # the stem pads 32 to 34
    assert sizes == [34] + [17] * 2 + [9] * 3 + [5] * 11


def test_lenet_sees_what_a_padded_image_shows() -> None:
    images = torch.randn(2, 1, 28, 28)
    small, large = (build(Model(name="lenet5"), 10, (1, side, side), 0) for side in (28, 32))
    assert torch.equal(small(images), large(F.pad(images, [2, 2, 2, 2])))


def test_lenets_draw_glorot_normal_weights() -> None:
    net = build(Model(name="lenet_300_100"), 10, (1, 28, 28), 0)
    assert net.fc1.weight.std().item() == pytest.approx(math.sqrt(2 / (784 + 300)), rel=0.02)
    assert not net.fc1.bias.any()


def test_convnet_on_grey_digits_is_small() -> None:
    assert _counts("convnet", (1, 8, 8)) == (4, 23_824)


def test_resnet_layers_stand_in_traversal_order_with_the_shortcut_after_conv2() -> None:
    layers = prunable_layers(skeleton(Model(name="resnet32", width=2), 10, CIFAR))
    shapes = [layer.shape for layer in layers]
    assert shapes[0] == (32, 3, 3, 3)
    assert shapes[1:11] == [(32, 32, 3, 3)] * 10
    assert shapes[11:14] == [(64, 32, 3, 3), (64, 64, 3, 3), (64, 32, 1, 1)]
    assert shapes[22:25] == [(128, 64, 3, 3), (128, 128, 3, 3), (128, 64, 1, 1)]
    assert shapes[-1] == (10, 128)
    assert [layer.classifier for layer in layers] == [False] * 33 + [True]


def test_vgg_layers_and_biases_are_as_specified() -> None:
    net = skeleton(Model(name="vgg19"), 10, CIFAR)
    layers = prunable_layers(net)
    assert [layer.shape[0] for layer in layers] == [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8 + [10]
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    assert all(module.bias is not None for module in convolutions)
    assert sum(isinstance(module, nn.MaxPool2d) for module in net.modules()) == 4


@pytest.mark.parametrize("name", ["convnet", "resnet8", "vgg19"])
def test_initial_weights_follow_the_specification(name: str) -> None:
    net = build(Model(name=name), 10, CIFAR, seed=0)
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 4000:
            channels = module.in_channels if name == "vgg19" else module.out_channels
            deviation = math.sqrt(2 / (channels * 9 if module.kernel_size == (3, 3) else channels))
            assert module.weight.std().item() == pytest.approx(deviation, rel=0.05)
            assert module.bias is None or not module.bias.any()
        if isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.01, rel=0.15)
            assert not module.bias.any()
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert not module.bias.any()


def test_initial_weights_depend_on_the_seed_alone_and_leave_the_global_generator() -> None:
    model = Model(name="resnet8")
    torch.manual_seed(1)
    first = build(model, 10, CIFAR, seed=3).state_dict()
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    again, other = (build(model, 10, CIFAR, seed).state_dict() for seed in (3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv.weight"], other["conv.weight"])


def test_a_skeleton_has_the_shapes_and_no_values() -> None:
    model = Model(name="resnet8", width=0.5)
    real, bare = build(model, 7, CIFAR, 0).state_dict(), skeleton(model, 7, CIFAR).state_dict()
    assert {name: value.shape for name, value in real.items()} == {name: value.shape for name, value in bare.items()}
    assert all(value.is_meta for value in bare.values())


def test_planning_with_a_skeleton_does_not_load_torchs_compiler() -> None:
    code = (
        "import sys\n"
        "from orchestrator.engine.nets import check_model, skeleton\n"
        "from orchestrator.spec.models import Model\n"
        "for name in ('convnet', 'resnet20', 'vgg19'):\n"
        "    skeleton(Model(name=name), 10, (3, 32, 32))\n"
        "    assert check_model(Model(name=name), 10, (3, 32, 32)) == []\n"
        "print([name for name in ('torch._dynamo', 'torchvision', 'sklearn') if name in sys.modules])\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_resnets_and_mobilenet_are_residual() -> None:
    residual = {name: skeleton(Model(name=name), 10, CIFAR).residual for name in nets.known()}
    plain = ["lenet_300_100", "lenet5", "convnet", "conv3", "vgg11", "vgg16", "vgg19"]
    assert [name for name, value in residual.items() if value is False] == plain
    assert all(value is True for name, value in residual.items() if name not in plain)


SMALL = ["lenet_300_100", "lenet5", "convnet", "resnet8", "resnet56", "resnet18_cifar", "mobilenet_v2_cifar"]


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 64, 64), (2, 11, 9)])
def test_networks_take_small_and_odd_images(name: str, shape: tuple[int, int, int]) -> None:
    assert check_model(Model(name=name), 7, shape) == []


def test_vgg_takes_cifar_and_tiny_imagenet_and_says_so_of_digits() -> None:
    assert check_model(Model(name="vgg19"), 10, (3, 32, 32)) == []
    assert check_model(Model(name="vgg19"), 200, (3, 64, 64)) == []
    ((path, message),) = check_model(Model(name="vgg19"), 10, (1, 8, 8))
    assert path == ("name",)
    assert message.startswith("'vgg19' cannot take images of 1x8x8 (channels x height x width): ")
    assert message.endswith(
        "; the nearest square images tried that it takes are 1x16x16: use such images, or another network"
    )


def test_resnet_at_half_width_trains_a_step() -> None:
    net = build(Model(name="resnet8", width=0.5), 10, (1, 8, 8), 0)
    F.cross_entropy(net(torch.rand(4, 1, 8, 8)), torch.tensor([0, 1, 2, 3])).backward()
    gradients = [parameter.grad for parameter in net.parameters()]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)


def test_convnet_learns_the_digits() -> None:
    data = load_data(Digits())
    batches = Batches(data, Augmentation(), torch.device("cpu"))
    net = build(Model(name="convnet"), 10, data.shape, 0).to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    draws = torch.Generator().manual_seed(0)
    for _ in range(5):
        for positions in batches.order(draws).split(64):
            images, labels = batches.train(positions, draws)
            optimiser.zero_grad()
            F.cross_entropy(net(images), labels).backward()
            optimiser.step()
    net.eval()
    with torch.no_grad():
        right = sum((net(images).argmax(1) == labels).sum().item() for images, labels in batches.evaluation("test"))
    assert right / len(data.test.labels) > 0.95


KNOWN = (
    "lenet_300_100, lenet5, convnet, conv3, resnet8, resnet20, resnet32, resnet56, resnet110, resnet18_cifar, "
    "resnet50_cifar, mobilenet_v2_cifar, vgg11, vgg16, vgg19, any classification network of torchvision (resnet18, "
    "vit_b_16, ...)"
)


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (
            Model(name="ResNet_20"),
            (("name",), f"unknown model 'ResNet_20'; did you mean 'resnet20'? known: {KNOWN}, or module:factory"),
        ),
        (
            Model(name="transformer"),
            (("name",), f"unknown model 'transformer'; known: {KNOWN}, or module:factory"),
        ),
        (
            Model(name="resnet20", widht=2),
            (("widht",), "unknown option; did you mean 'width'? known options: width"),
        ),
        (Model(name="vgg19", width=2), (("width",), "unknown option; known options: none")),
        (Model(name="resnet20", width="2"), (("width",), "expected a number, found the text '2'")),
        (Model(name="resnet20", width=True), (("width",), "expected a number, found true")),
        (Model(name="resnet20", width=None), (("width",), "expected a number, found nothing")),
        (Model(name="resnet20", width=0), (("width",), "expected a number above 0 and not above 64, found 0")),
        (
            Model(name="convnet", width=math.nan),
            (("width",), "expected a number above 0 and not above 64, found nan"),
        ),
        (Model(name="resnet20", num_classes=5), (("num_classes",), "the data set decides this; remove it")),
    ],
)
def test_a_bad_name_or_option_is_named(model: Model, problem: tuple[tuple[str, ...], str]) -> None:
    assert check_model(model, 10, CIFAR) == [problem]
    for make in (lambda: build(model, 10, CIFAR, 0), lambda: skeleton(model, 10, CIFAR)):
        with pytest.raises(ModelError) as raised:
            make()
        assert raised.value.problems == [problem]


def test_all_bad_options_are_named_at_once() -> None:
    problems = check_model(Model(name="resnet20", width="wide", depth=3), 10, CIFAR)
    assert [path for path, _ in problems] == [("width",), ("depth",)]


def test_built_in_networks_have_no_source_of_their_own() -> None:
    assert nets.source_of(Model(name="resnet20")) is None
