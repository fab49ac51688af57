"""Filter pruning: what goes together, which filters go, and that they are really gone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal

import pytest
import torch
from structure_benches import StructureBench
from structure_nets import Added, plain, shapes
from torch import nn
from torchvision.models import swin_t, swin_v2_t, vit_b_32

from methods.structure.coupling import coupled, pruned, weights_left
from methods.structure.filters import FilterPrune, coupled_scores, without_filters
from orchestrator.engine.nets.registry import build
from orchestrator.spec.models import Model


def network(name: str, **options: object) -> nn.Module:
    return build(Model(name=name, **options), 10, (3, 32, 32), 0)  # type: ignore[arg-type]


def test_groups_of_a_plain_network() -> None:
    net = plain()
    groups = coupled(net, (1, 8, 8), StructureBench(net).layers)
    assert [(group.name, group.size, group.takers) for group in groups] == [
        ("0", 3, (("3", 1),)),
        ("3", 4, (("7", 9),)),  # nine places of each map are inputs of the linear layer
    ]


def test_filters_whose_features_are_added_go_together() -> None:
    net = Added()
    groups = coupled(net, (1, 8, 8), StructureBench(net).layers)
    assert [(group.name, [name for name, _ in group.members]) for group in groups] == [
        ("stem", ["stem", "branch"]),
        ("last", ["last"]),
    ]
    assert dict(groups[0].members) == {"stem": (0, 1, 2), "branch": (0, 1, 2)}


def test_the_lowest_go_over_all_layers_and_the_best_of_each_stays() -> None:
    bench = StructureBench(plain())
    scores = {"0": torch.tensor([0.3, 0.1, 0.2]), "3": torch.tensor([7.0, 5.0, 0.25, 6.0])}
    by_count = [shapes(without_filters(bench, bench.weights, scores, count=count), "0", "3", "7") for count in range(6)]
    assert by_count == [
        [(3, 1, 3, 3), (4, 3, 3, 3), (10, 36)],
        [(2, 1, 3, 3), (4, 2, 3, 3), (10, 36)],
        [(1, 1, 3, 3), (4, 1, 3, 3), (10, 36)],
        [(1, 1, 3, 3), (3, 1, 3, 3), (10, 27)],  # the best of the first layer scores 0.3, and stays
        [(1, 1, 3, 3), (2, 1, 3, 3), (10, 18)],
        [(1, 1, 3, 3), (1, 1, 3, 3), (10, 9)],
    ]


def test_what_is_left_are_the_filters_that_were_not_chosen() -> None:
    bench = StructureBench(plain())
    scores = {"0": torch.tensor([0.3, 0.1, 0.2]), "3": torch.tensor([7.0, 5.0, 0.25, 6.0])}
    left, before = without_filters(bench, bench.weights, scores, count=3), bench.weights
    assert torch.equal(left["0.weight"], before["0.weight"][[0]])
    assert torch.equal(left["1.running_var"], before["1.running_var"][[0]])
    assert torch.equal(left["3.weight"], before["3.weight"][[0, 1, 3]][:, [0]])
    columns = [9 * unit + place for unit in (0, 1, 3) for place in range(9)]
    assert torch.equal(left["7.weight"], before["7.weight"][:, columns])
    assert torch.equal(left["7.bias"], before["7.bias"])


def test_filters_of_zeros_can_go_without_a_change() -> None:
    net = plain().eval()
    for value in (net[3].weight, net[3].bias):
        value.data[[1, 2]] = 0
    bench = StructureBench(net)
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    left = without_filters(
        bench, bench.weights, {"0": torch.ones(3), "3": torch.tensor([1.0, 0, 0, 1])}, count=2
    )  # the rest ties
    torch.testing.assert_close(bench.net(left).eval()(images), net(images))


def test_of_equal_scores_the_earlier_goes() -> None:
    bench = StructureBench(plain())
    left = without_filters(bench, bench.weights, {"0": torch.ones(3), "3": torch.ones(4)}, count=1)
    # the first of the best stays, so the second filter of the first layer is the earliest that may go
    assert torch.equal(left["0.weight"], bench.weights["0.weight"][[0, 2]])


def test_units_score_the_mean_of_their_filters() -> None:
    net = Added()
    bench = StructureBench(net)
    own = {name: net.get_submodule(name).weight.double().square().sum((1, 2, 3)) for name in ("stem", "branch", "last")}
    scores = coupled_scores(bench, bench.weights, "weight_norm", 4, None)
    torch.testing.assert_close(scores["stem"], (own["stem"] + own["branch"]) / 2)
    torch.testing.assert_close(scores["last"], own["last"])


@pytest.mark.parametrize("target", ["sparsity", "macs"])
@pytest.mark.parametrize("fraction", ["0.1", "0.5", "0.75"])
def test_as_few_filters_as_reach_the_target(target: str, fraction: str) -> None:
    bench = StructureBench(plain())
    scores = coupled_scores(bench, bench.weights, "weight_norm", 4, None)
    left = without_filters(bench, bench.weights, scores, target=target, fraction=fraction)

    def removed(weights: dict[str, torch.Tensor]) -> Decimal:
        if target == "macs":
            return 1 - Decimal(bench.macs(weights)) / bench.macs(None)
        counts = [sum(own[f"{name}.weight"].numel() for name in ("0", "3", "7")) for own in (weights, bench.weights)]
        return 1 - Decimal(counts[0]) / counts[1]

    by_count = [without_filters(bench, bench.weights, scores, count=count) for count in range(6)]
    fewest = next(number for number, own in enumerate(by_count) if removed(own) >= Decimal(fraction))
    assert {name: value.shape for name, value in left.items()} == {
        name: value.shape for name, value in by_count[fewest].items()
    }
    assert fewest > 0


def test_nothing_goes_where_nothing_is_to_be_removed() -> None:
    bench = StructureBench(plain())
    scores = coupled_scores(bench, bench.weights, "weight_norm", 4, None)
    left = without_filters(bench, bench.weights, scores, target="sparsity", fraction="0")
    assert all(torch.equal(value, bench.weights[name]) for name, value in left.items())


@pytest.mark.parametrize(
    ("name", "options"),
    [("resnet8", {"width": 0.25}), ("resnet50_cifar", {"width": 0.125}), ("mobilenet_v2_cifar", {"width": 0.25}),
     ("conv3", {}), ("lenet5", {})],
)  # fmt: skip
def test_weights_are_counted_as_they_are_left(name: str, options: dict) -> None:
    net = network(name, **options)
    bench = StructureBench(net, shape=(3, 32, 32))
    groups = coupled(net, bench.shape, bench.layers)
    for part in (2, 3, 4):
        remove = {group.name: list(range(0, group.size - 1, part)) for group in groups}
        left = pruned(net, bench.shape, remove)
        counted = sum(left.get_submodule(layer.name).weight.numel() for layer in bench.layers)
        assert weights_left(bench, bench.weights, groups, remove) == counted
        with torch.no_grad():
            assert left.eval()(torch.zeros(2, *bench.shape)).shape == (2, 10)
    assert all(own.shape == bench.weights[key].shape for key, own in net.state_dict().items()), "a copy was pruned"


def test_pruned_networks_compute_what_masks_would() -> None:
    """Filters whose features are zero after their normalisation: removed or there, the network says the same."""
    net = network("resnet8", width=0.5).eval()
    groups = coupled(net, (3, 32, 32), StructureBench(net).layers)
    inner = next(group for group in groups if group.name == "stage1.0.conv1")
    norm = net.get_submodule("stage1.0.bn1")
    norm.weight.data[[0, 3]], norm.bias.data[[0, 3]] = 0, 0
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    left = pruned(copy.deepcopy(net), (3, 32, 32), {inner.name: [0, 3]}).eval()
    assert left.get_submodule("stage1.0.conv1").out_channels == inner.size - 2
    torch.testing.assert_close(left(images), net(images), rtol=1e-4, atol=1e-5)


def refusal(net: nn.Module, shape: tuple[int, int, int] = (1, 8, 8), **options: object) -> str:
    bench = StructureBench(net, shape=shape)
    bench.sparsity = Decimal("0.5")
    with pytest.raises(ValueError, match=r"network|criterion") as caught:
        FilterPrune(**options).units(bench)
    return str(caught.value)


def test_a_criterion_that_has_nothing_to_look_at_is_refused() -> None:
    assert refusal(plain(), criterion="bn_scale") == (
        "criterion bn_scale looks at the scale of normalisation, and none follows layer '3'; choose another criterion, "
        "or name the layer in prunable.exclude"
    )
    assert "none follows layer 'stem'" in refusal(Added(), criterion="ensemble")
    assert (
        refusal(plain(), criterion="imprinting")
        == "criterion imprinting is one of layers; choose another for filter_prune"
    )


def test_networks_that_cannot_be_taken_apart_are_refused() -> None:
    bare = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert (
        refusal(bare) == "the network has no filters that can be removed; choose another network, or prune its weights"
    )

    class Chunked(nn.Module):
        """Takes half of the channels by number, whatever torch-pruning makes of it."""

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(128, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.conv(x)[:, 2:4].reshape(-1, 128))

    assert refusal(Chunked()).startswith(
        "filters cannot be taken out of this network: without half of them two images give (0, 10), and (2, 10) is "
    )


@pytest.mark.parametrize(("builder", "side"), [(swin_t, 64), (vit_b_32, 64), (swin_v2_t, 64)])
def test_transformers_are_refused_at_once(builder: Callable[..., nn.Module], side: int) -> None:
    options = {"image_size": side} if builder is vit_b_32 else {}
    assert refusal(builder(num_classes=10, **options), (3, side, side)) == (
        "filters cannot be taken out of this network: it computes attention, whose heads cannot lose features one by "
        "one; choose a network of convolutions (VGG, ResNet, MobileNet, EfficientNet, RegNet, DenseNet, ConvNeXt and "
        "the like), or prune its weights"
    )


def test_units_are_all_filters_but_one_of_each_group() -> None:
    assert FilterPrune().units(StructureBench(plain())) == 2 + 3
    assert FilterPrune().units(StructureBench(Added())) == 2 + 4
