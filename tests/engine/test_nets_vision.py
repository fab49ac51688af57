"""torchvision's networks by name: their names, options, images, weights, and what is said of those that do not fit."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from methods.layers import is_residual, prunable_layers
from orchestrator.engine.nets import (
    ModelError,
    build,
    canonical,
    check_model,
    load_weights,
    skeleton,
    source_of,
    vision,
)
from orchestrator.engine.nets.copies import load_values
from orchestrator.engine.setting import Setting
from orchestrator.spec.models import Model, Spec

SHAPE = (3, 64, 64)
OURS = ("vgg11", "vgg16", "vgg19")


def _wrong(model: Model, shape: tuple[int, int, int] = SHAPE, classes: int = 10) -> tuple[str, str]:
    ((path, message),) = check_model(model, classes, shape)
    return path[0], message


def test_a_network_of_each_family_has_the_parameters_that_torchvision_publishes() -> None:
    from torchvision import models

    families = {models.get_model_builder(name).__module__: name for name in reversed(vision.names())}
    assert len(families) >= 16
    for name in families.values():
        meta = next(iter(models.get_model_weights(name))).meta
        shape = (3, *meta["min_size"]) if name.startswith(("vit_", "maxvit_")) else (3, 224, 224)
        net = skeleton(Model(name=vision.PREFIX + name), 1000, shape)
        parameters = sum(each.numel() for each in net.parameters())
        # Inception's figure counts its auxiliary classifier, which is left out here
        assert parameters == meta["num_params"] - (3_326_696 if name == "inception_v3" else 0), name
        assert all(tensor.is_meta for tensor in (*net.parameters(), *net.buffers())), name
        assert is_residual(net) is not None, name


def test_built_in_names_win_and_the_prefix_reaches_torchvisions() -> None:
    for name in OURS:
        assert name in vision.names()
        assert not hasattr(skeleton(Model(name=name), 10, SHAPE), "avgpool")
        assert hasattr(skeleton(Model(name=vision.PREFIX + name), 10, SHAPE), "avgpool")
    plain, prefixed = (build(Model(name=name), 10, SHAPE, 3) for name in ("resnet18", f"{vision.PREFIX}resnet18"))
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in prefixed.state_dict().items())


def test_a_skeleton_has_the_shapes_of_the_network() -> None:
    for name in ("regnet_y_400mf", "shufflenet_v2_x0_5", "vit_b_16", "googlenet"):
        model = Model(name=name)
        real, bare = build(model, 7, SHAPE, 0).state_dict(), skeleton(model, 7, SHAPE).state_dict()
        assert {key: value.shape for key, value in real.items()} == {key: value.shape for key, value in bare.items()}


def test_initial_weights_depend_on_the_seed_alone_and_leave_the_global_generator() -> None:
    model = Model(name="squeezenet1_1")
    torch.manual_seed(1)
    first = build(model, 10, SHAPE, seed=3).state_dict()
    after = torch.rand(1)
    torch.manual_seed(1)
    skeleton(model, 10, SHAPE)
    assert torch.equal(after, torch.rand(1))
    again, other = (build(model, 10, SHAPE, seed).state_dict() for seed in (3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["features.0.weight"], other["features.0.weight"])


def test_making_a_skeleton_leaves_other_networks_their_values() -> None:
    with pytest.raises(ModelError):
        skeleton(Model(name="vit_b_16"), 10, (3, 20, 20))
    assert not nn.Linear(2, 2).weight.is_meta


def test_a_version_of_torchvision_is_part_of_the_key_and_both_spellings_have_one(make_spec: Any) -> None:
    installed = f"torchvision {importlib.metadata.version('torchvision')}"
    assert source_of(Model(name="resnet18")) == source_of(Model(name="torchvision.models:vgg19")) == installed
    assert source_of(Model(name="vgg19")) is None
    assert canonical("resnet18") == canonical("torchvision.models:resnet18") == "torchvision.models:resnet18"
    assert canonical("vgg19") == "vgg19"
    assert canonical("mine:net") == "mine:net"
    spec: Spec = make_spec(model=["resnet18", "torchvision.models:resnet18", "resnet34"])
    keys = [Setting(spec, model).key for model in spec.model]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_the_inceptions_give_logits_alone_and_take_torchvisions_weights(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import models

    net = build(Model(name=name), 10, (3, 75, 75), 0)
    assert net.train()(torch.zeros(2, 3, 75, 75)).shape == (2, 10)
    assert not net.transform_input
    own = next(iter(models.get_model_weights(name)))
    weights = str(own)
    pretrained = Model(name=name, weights=weights)
    assert check_model(pretrained, 1000, (3, 75, 75)) == []
    net = build(pretrained, 1000, (3, 75, 75), 0)
    assert net.transform_input
    published = models.get_model_builder(name)(aux_logits=True, init_weights=False).state_dict()
    assert any(key.startswith(("aux1.", "AuxLogits.")) for key in published)
    monkeypatch.setattr(type(own), "get_state_dict", lambda self, **options: published)
    load_weights(net, weights)
    assert torch.equal(net.fc.weight, published["fc.weight"])


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mnasnet0_5", "swin_t"])
def test_on_grey_images_a_network_computes_what_it_would_on_grey_as_colour(name: str) -> None:
    grey, colour = (build(Model(name=name), 10, (channels, 64, 64), 0).eval() for channels in (1, 3))
    images = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(grey(images), colour(images.expand(2, 3, 64, 64)), rtol=1e-3, atol=1e-4)
    assert prunable_layers(grey)[0].shape[1] == 1
    assert skeleton(Model(name=name), 10, (1, 64, 64)).state_dict().keys() == grey.state_dict().keys()


def test_transformers_are_made_for_the_size_of_the_images() -> None:
    assert check_model(Model(name="vit_b_16"), 10, (3, 32, 32)) == []
    assert skeleton(Model(name="vit_b_16"), 10, (1, 32, 32)).encoder.pos_embedding.shape == (1, 5, 768)
    path, message = _wrong(Model(name="vit_b_16"), (3, 28, 28))
    assert path == "name"
    assert message.startswith("'vit_b_16' cannot take images of 3x28x28 (channels x height x width): ")
    assert message.endswith("images tried that it takes are 3x32x32: use such images, or another network")
    with_option = _wrong(Model(name="vit_b_16", dropout=0.1), (3, 28, 28))[1]
    assert with_option == message
    assert "it takes square images; the nearest" in _wrong(Model(name="vit_b_16"), (3, 32, 48))[1]


@pytest.mark.parametrize(
    ("name", "shape", "takes"),
    [
        ("inception_v3", (3, 32, 32), "3x75x75"),
        ("alexnet", (1, 28, 28), "1x64x64"),
        ("torchvision.models:vgg11", (1, 8, 8), "1x32x32"),
        ("resnet18", (2, 32, 32), "it takes images of 3x32x32"),
    ],
)
def test_images_that_do_not_fit_are_told_with_those_that_do(name: str, shape: tuple[int, int, int], takes: str) -> None:
    path, message = _wrong(Model(name=name), shape)
    assert path == "name"
    assert "cannot take images of " + "x".join(map(str, shape)) in message
    assert f"{takes}: use such images, or another network" in message


def test_residual_is_told_by_family() -> None:
    said = {name: skeleton(Model(name=name), 10, SHAPE).residual for name in ("resnext50_32x4d", "densenet121")}
    assert said == {"resnext50_32x4d": True, "densenet121": True}
    for name in ("alexnet", "squeezenet1_0", "googlenet", "vgg13_bn"):
        assert skeleton(Model(name=name), 10, SHAPE).residual is False


def test_options_of_the_builder_are_passed_on() -> None:
    narrow = skeleton(Model(name="mobilenet_v2", width_mult=0.5, dropout=0), 10, SHAPE)
    assert narrow.features[0][0].out_channels == 16
    assert narrow.classifier[0].p == 0
    assert skeleton(Model(name="vit_b_16", attention_dropout=0.25), 10, SHAPE).encoder.layers[0].self_attention.dropout
    assert (
        skeleton(Model(name="densenet121", drop_rate=0.5), 10, SHAPE).features.denseblock1.denselayer1.drop_rate == 0.5
    )


@pytest.mark.parametrize(
    ("model", "path", "message"),
    [
        (
            Model(name="mobilenet_v2", width_mul=0.5),
            "width_mul",
            "unknown option; did you mean 'width_mult'? known options: width_mult, round_nearest, dropout",
        ),
        (Model(name="mobilenet_v2", width_mult="x"), "width_mult", "expected a number, found the text 'x'"),
        (Model(name="googlenet", aux_logits=True), "aux_logits", vision.FIXED["aux_logits"]),
        (Model(name="vit_b_16", image_size=224), "image_size", "the data set decides this; remove it"),
        (Model(name="resnet18", num_classes=5), "num_classes", "the data set decides this; remove it"),
        (Model(name="shufflenet_v2_x0_5", width=2), "width", "unknown option; known options: none"),
        (
            Model(name="resnext50_32x4d", groups=8),
            "groups",
            "torchvision's resnext50_32x4d sets this itself (ValueError: The parameter 'groups' expected value 32 but "
            "got 8 instead.); remove it",
        ),
        (
            Model(name="alexnet", dropout=3.0),
            "name",
            "torchvision's alexnet cannot be made with these options: ValueError: dropout probability has to be "
            "between 0 and 1, but got 3.0",
        ),
    ],
)
def test_a_wrong_option_is_named(model: Model, path: str, message: str) -> None:
    assert _wrong(model) == (path, message)


def test_an_option_that_the_builder_sets_is_named() -> None:
    path, message = _wrong(Model(name="mnasnet0_5", alpha=2.0))
    assert path == "alpha"
    assert message.startswith("torchvision's mnasnet0_5 sets this itself")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnext50_32x4", "unknown model 'resnext50_32x4'; did you mean 'resnext50_32x4d'? known: lenet_300_100, "),
        ("efficientnet-b0", "unknown model 'efficientnet-b0'; did you mean 'efficientnet_b0'? known: "),
        (
            "torchvision.models:resnet81",
            "torchvision has no classification network 'resnet81'; did you mean 'resnet18'? it has alexnet, resnet18, "
            "vit_b_16, ...",
        ),
    ],
)
def test_a_misspelt_name_gives_the_nearest(name: str, said: str) -> None:
    path, message = _wrong(Model(name=name))
    assert path == "name"
    assert message.startswith(said)


def test_weights_for_other_classes_or_of_another_network_are_told_without_a_download(tmp_path: Path) -> None:
    weights = "ResNet18_Weights.IMAGENET1K_V1"
    path, message = _wrong(Model(name="resnet18", weights=weights))
    assert path == "weights"
    assert message == (
        f"{weights}: does not fit the network: 2 other shapes: fc.weight (1000, 512) instead of (10, 512), fc.bias "
        "(1000,) instead of (10,) (a classifier for 1000 classes, and the data has 10; none is replaced, for `weights` "
        "stand for the trained dense network: give weights for these classes, or leave `weights` out)"
    )
    path, message = _wrong(Model(name="resnet34", weights=weights), classes=1000)
    assert path == "weights"
    assert message.startswith(f"{weights}: does not fit the network: 96 missing: layer1.2.conv1.weight, ")
    assert _wrong(Model(name="resnet18", weights="DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1")) == (
        "weights",
        "DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1: are weights of no classification network",
    )
    assert check_model(Model(name="vit_b_16", weights="ViT_B_16_Weights.IMAGENET1K_V1"), 1000, (3, 224, 224)) == []
    assert (
        "1 other shapes: encoder.pos_embedding (1, 197, 768) instead of (1, 17, 768)"
        in (_wrong(Model(name="vit_b_16", weights="ViT_B_16_Weights.IMAGENET1K_V1"), classes=1000)[1])
    )
    file = tmp_path / "other.safetensors"
    save_file(build(Model(name="squeezenet1_1"), 10, SHAPE, 0).state_dict(), file)
    message = _wrong(Model(name="resnet18", weights=str(file)))[1]
    assert message.startswith(f"{file}: does not fit the network: 122 missing: conv1.weight, bn1.weight, ")
    assert "; 52 unexpected: classifier.1.bias, " in message


def test_built_in_networks_do_not_load_torchvision_and_the_spec_neither() -> None:
    code = (
        "import sys\n"
        "from orchestrator.engine.nets import build, canonical, check_model, source_of\n"
        "from orchestrator.spec.models import Model\n"
        "for name in ('lenet5', 'resnet18_cifar', 'vgg11'):\n"
        "    assert check_model(Model(name=name), 10, (3, 32, 32)) == []\n"
        "    assert (canonical(name), source_of(Model(name=name))) == (name, None)\n"
        "print([name for name in ('torchvision', 'torch._dynamo') if name in sys.modules])\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_values_that_come_back_from_a_file_are_of_the_networks_own_version() -> None:
    """MNASNet refuses, or rebuilds itself for, a state dict that does not say its version: as one from a file does."""
    net = build(Model(name="mnasnet0_5"), 10, (3, 32, 32), seed=0)
    values = {name: value.clone() + 1 for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match="version"):
        net.load_state_dict(dict(values))
    load_values(net, values)
    assert all(torch.equal(value, values[name]) for name, value in net.state_dict().items())
