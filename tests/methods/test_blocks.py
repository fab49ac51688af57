"""Layer pruning: which blocks can go, how much each matters, and what is left without them."""

from __future__ import annotations

import math

import pytest
import torch
from structure_benches import StructureBench, images
from torch import nn
from torchvision.models import mobilenet_v2, mobilenet_v3_small, resnet18, vit_b_32

from methods.layers import prunable_layers
from methods.structure.blocks import Block, blocks, is_path
from methods.structure.criteria import filter_scores
from methods.structure.imprinting import gains
from methods.structure.layers import LayerPrune, block_scores, without, without_blocks
from orchestrator.engine.nets.registry import build
from orchestrator.spec.models import Model

CIFAR = (3, 32, 32)


def network(name: str, **options: object) -> nn.Module:
    return build(Model(name=name, **options), 10, CIFAR, 0)  # type: ignore[arg-type]


def names(net: nn.Module, shape: tuple[int, int, int] = CIFAR, residual: bool | None = True) -> list[str]:
    return [block.name for block in blocks(net, shape, prunable_layers(net), residual)]


def path() -> nn.Sequential:
    """A single path: 3, 5, 5, 4 channels, then a linear map."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(),
        nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(),
        nn.Conv2d(5, 5, 3, padding=1), nn.ReLU(),
        nn.Conv2d(5, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 10),
    )  # fmt: skip


def test_blocks_of_residual_networks() -> None:
    # three stages of three blocks, the first of the second and third with a projection
    assert names(network("resnet20", width=0.25)) == [
        "stage1.0", "stage1.1", "stage1.2", "stage2.1", "stage2.2", "stage3.1", "stage3.2",
    ]  # fmt: skip
    # 3, 4, 6, 3 bottlenecks, each stage's first with a projection
    assert len(names(network("resnet50_cifar", width=0.125))) == 2 + 3 + 5 + 2


def test_blocks_of_torchvisions_networks() -> None:
    assert names(resnet18(num_classes=10), (3, 64, 64)) == [
        "layer1.0", "layer1.1", "layer2.1", "layer3.1", "layer4.1",
    ]  # fmt: skip
    assert len(names(mobilenet_v2(num_classes=10), (3, 64, 64))) == 1 + 2 + 3 + 2 + 2  # repeats at stride 1
    assert names(vit_b_32(num_classes=10, image_size=32)) == [f"encoder.layers.encoder_layer_{i}" for i in range(12)]


def test_squeeze_and_excitation_is_no_block() -> None:
    net = mobilenet_v3_small(num_classes=10)  # 11 inverted residuals, 5 of which have no shortcut; 9 have excitation
    assert names(net, (3, 64, 64)) == [f"features.{i}" for i in (3, 5, 6, 8, 10, 11)]


def test_the_last_layer_of_a_block_does_not_score_it() -> None:
    net = network("resnet8", width=0.25)
    (block,) = blocks(net, CIFAR, prunable_layers(net), True)
    assert (block.name, block.scored) == ("stage1.0", ("stage1.0.conv1",))
    net = network("resnet50_cifar", width=0.125)
    first = blocks(net, CIFAR, prunable_layers(net), True)[0]
    assert [name.rsplit(".", 1)[1] for name in first.scored] == ["conv1", "conv2"]


def test_layers_of_a_single_path() -> None:
    net = path()
    assert blocks(net, (1, 8, 8), prunable_layers(net), False) == [
        Block("3", ("3", "4"), ("3",), before="0", after="6"),
        Block("6", ("6",), ("6",), before="3", after="8"),
    ], "neither the first, nor the last, nor one that makes its features smaller"


def test_vggs_layers() -> None:
    found = names(network("vgg11"), residual=False)
    convolutions = [layer.name for layer in prunable_layers(network("vgg11")) if len(layer.shape) == 4]
    assert found == convolutions[1:]


def test_what_a_single_path_is() -> None:
    assert is_path(path(), (1, 8, 8))
    assert is_path(network("vgg11"), CIFAR)
    assert not is_path(network("resnet8", width=0.25), CIFAR)

    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right, self.fc = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3), nn.Linear(4, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(torch.cat([self.left(x), self.right(x)], 1).mean((2, 3)))

    assert not is_path(Fork(), (1, 8, 8))


@pytest.mark.parametrize("criterion", ["weight_norm", "taylor_weight", "taylor_feature", "gate_taylor", "bn_scale"])
def test_a_block_scores_the_mean_of_its_filters(criterion: str) -> None:
    net = network("resnet20", width=0.25)
    bench = StructureBench(net, [images(1, 4, CIFAR)], shape=CIFAR, residual=True)
    filters = filter_scores(bench, bench.weights, criterion, 4, None)[criterion]
    found = block_scores(bench, bench.weights, criterion, 4, None)
    assert list(found) == names(net)
    for name, score in found.items():
        assert float(score) == pytest.approx(float(filters[f"{name}.conv1"].mean()))


def test_blocks_are_ranked_by_each_criterion_of_an_ensemble() -> None:
    bench = StructureBench(network("resnet20", width=0.25), [images(1, 4, CIFAR)], shape=CIFAR, residual=True)
    single = [
        block_scores(bench, bench.weights, criterion, 4, None)
        for criterion in ("taylor_weight", "weight_norm", "taylor_feature", "gate_taylor", "bn_scale")
    ]
    ranks = [dict(zip(sorted(own, key=lambda name: float(own[name])), range(7), strict=True)) for own in single]
    together = block_scores(bench, bench.weights, "ensemble", 4, None)
    assert {name: float(value) for name, value in together.items()} == {
        name: sum(rank[name] for rank in ranks) for name in together
    }


def test_imprinting_scores_blocks_by_what_they_add() -> None:
    bench = StructureBench(
        network("resnet20", width=0.25), [images(1, 20, CIFAR)], [images(2, 20, CIFAR)], CIFAR, residual=True
    )
    found = block_scores(bench, bench.weights, "imprinting", 20, None)
    wanted = gains(bench, bench.weights, [(name, name) for name in found], 20, None)
    assert {name: float(value) for name, value in found.items()} == wanted


def test_the_lowest_blocks_become_the_identity() -> None:
    net = network("resnet20", width=0.25)
    bench = StructureBench(net, shape=CIFAR, residual=True)
    scores = {name: torch.tensor(float(value)) for name, value in zip(names(net), (3, 1, 1, 5, 0, 6, 7), strict=True)}
    left = without_blocks(bench, bench.weights, scores, count=2)  # of the two that tie the earlier
    assert {name for name in bench.weights if name not in left} == {
        name for name in bench.weights if name.startswith(("stage2.2.", "stage1.1."))
    }
    assert all(torch.equal(value, bench.weights[name]) for name, value in left.items())
    pictures = images(1, 2, CIFAR)[0]
    own = bench.net(left).eval()
    assert isinstance(own.get_submodule("stage2.2"), nn.Identity)
    net.eval()
    net.stage2[2], net.stage1[1] = nn.Identity(), nn.Identity()
    torch.testing.assert_close(own(pictures), net(pictures))


@pytest.mark.parametrize("target", ["sparsity", "macs"])
def test_as_few_blocks_as_reach_the_target(target: str) -> None:
    net = network("resnet20", width=0.25)
    bench = StructureBench(net, shape=CIFAR, residual=True)
    scores = block_scores(bench, bench.weights, "weight_norm", 4, None)
    left = without_blocks(bench, bench.weights, scores, target=target, fraction="0.3")
    counts = []
    for number in range(8):
        own = without_blocks(bench, bench.weights, scores, count=number)
        whole = {layer.parameter: bench.weights[layer.parameter].numel() for layer in bench.layers}
        gone = 1 - sum(size for name, size in whole.items() if name in own) / sum(whole.values())
        counts.append(1 - bench.macs(own) / bench.macs(None) if target == "macs" else gone)
    fewest = next(number for number, gone in enumerate(counts) if gone >= 0.3)
    assert set(left) == set(without_blocks(bench, bench.weights, scores, count=fewest))


def test_the_layer_after_a_removed_one_is_fitted() -> None:
    bench = StructureBench(path(), residual=False)
    first, second = blocks(bench.net(bench.weights), bench.shape, bench.layers, False)

    left = without(bench, bench.weights, [first], fresh=True)  # 3 channels reach the layer that took 5
    assert left["6.weight"].shape == (5, 3, 3, 3)
    assert not [name for name in left if name.startswith(("3.", "4."))]
    assert torch.equal(left["6.bias"], bench.weights["6.bias"])
    assert torch.equal(left["8.weight"], bench.weights["8.weight"])

    same = without(bench, bench.weights, [second], fresh=True)  # 5 channels still reach the next
    assert torch.equal(same["8.weight"], bench.weights["8.weight"])

    both = without(bench, bench.weights, [first, second], fresh=True)
    assert both["8.weight"].shape == (4, 3, 3, 3)
    for own in (left, same, both):
        assert bench.net(own).eval()(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_fitted_weights_are_drawn_from_the_seed_as_he_did() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 20, 3, padding=1), nn.Conv2d(20, 30, 3, padding=1), nn.Conv2d(30, 40, 3), nn.Flatten(),
        nn.Linear(1440, 10),
    )  # fmt: skip
    bench = StructureBench(net, residual=False)
    removed = blocks(net, bench.shape, bench.layers, False)[:1]
    once, again = (without(bench, bench.weights, removed, fresh=True)["2.weight"] for _ in range(2))
    assert torch.equal(once, again)
    assert float(once.std()) == pytest.approx(math.sqrt(2 / (20 * 9)), rel=0.03)  # 7200 draws
    assert not without(bench, bench.weights, removed, fresh=False)["2.weight"].any()


def refusal(net: nn.Module, residual: bool | None, **options: object) -> str:
    bench = StructureBench(net, shape=(1, 8, 8), residual=residual)
    with pytest.raises(ValueError, match=r"network|criterion|layer_prune") as caught:
        LayerPrune(**options).units(bench)
    return str(caught.value)


def test_networks_without_what_is_needed_are_refused() -> None:
    assert refusal(path(), None).startswith(
        "layer_prune has to know whether the network has residual connections, and this one does not say"
    )
    short = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 10))
    assert refusal(short, False).startswith("layer_prune finds no block that could be removed")
    assert refusal(path(), False, criterion="bn_scale") == (
        "criterion bn_scale looks at the scale of normalisation, and none follows layer '6'; choose another criterion"
    )

    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right, self.fc = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1), nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc((self.left(x) * self.right(x)).flatten(1))

    assert "has no residual connections and is no single path either" in refusal(Fork(), False)


def test_what_all_blocks_hold_is_the_most_that_can_go() -> None:
    net = network("resnet20", width=0.25)
    bench = StructureBench(net, shape=CIFAR, residual=True)
    sizes = {layer.name: math.prod(layer.shape) for layer in bench.layers}
    inside = sum(size for name, size in sizes.items() if name.startswith(tuple(f"{own}." for own in names(net))))
    assert LayerPrune().reachable(bench, "sparsity") == pytest.approx(inside / sum(sizes.values()))
    bare = without_blocks(bench, bench.weights, dict.fromkeys(names(net), torch.tensor(0.0)), count=7)
    assert LayerPrune().reachable(bench, "macs") == pytest.approx(1 - bench.macs(bare) / bench.macs(None))
