"""How much filters matter: each criterion against its formula, on networks small enough to write it out."""

from __future__ import annotations

import pytest
import torch
from structure_benches import StructureBench, images
from torch import nn
from torch.nn import functional as F

from methods.structure.criteria import ENSEMBLE, filter_scores, ranked
from methods.structure.imprinting import embedding, gains
from methods.structure.signals import gates, signals


class Gated(nn.Module):
    """Two convolutions, the first with normalisation; a gate on the features of each."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(1, 3, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(3)
        self.second = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 10)
        nn.init.uniform_(self.norm.weight, -1, 1)
        self.gates: dict[str, torch.Tensor] = {}
        self.features: dict[str, torch.Tensor] = {}

    def _gated(self, name: str, features: torch.Tensor) -> torch.Tensor:
        if name not in self.gates:
            return features
        features.retain_grad()
        self.features[name] = features
        return features * self.gates[name][:, None, None]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self._gated("first", self.norm(self.first(x))).relu()
        x = self._gated("second", self.second(x)).relu_()  # in place: what a tap must bear
        return self.fc(x.mean((2, 3)))


@pytest.fixture
def bench() -> StructureBench:
    return StructureBench(Gated(), [images(1), images(2)])


def by_hand(bench: StructureBench) -> dict[str, dict[str, torch.Tensor]]:
    """The three measured criteria by autograd of a network that really has gates."""
    found: dict[str, dict[str, torch.Tensor]] = {"first": {}, "second": {}}
    for pictures, labels in bench.images("train", 4):
        net = bench.net(bench.weights)
        net.gates = {"first": torch.ones(3, requires_grad=True), "second": torch.ones(4, requires_grad=True)}
        F.cross_entropy(net(pictures), labels).backward()
        for name, own in found.items():
            weight, gate, features = net.get_submodule(name).weight, net.gates[name], net.features[name]
            for what, value in (
                ("taylor_weight", (weight * weight.grad).square().sum((1, 2, 3))),
                ("gate_taylor", gate.grad.square()),
                ("taylor_feature", (features * features.grad).abs().mean((0, 2, 3))),
            ):
                own[what] = own.get(what, 0) + value.detach().double() / 2
    return found


def test_signals_are_those_of_a_network_with_gates(bench: StructureBench) -> None:
    before = {name: value.clone() for name, value in bench.weights.items()}
    found, wanted = signals(bench, bench.weights, 4, None), by_hand(bench)
    for layer, own in wanted.items():
        for name, value in own.items():
            torch.testing.assert_close(found[layer][name], value, rtol=1e-4, atol=1e-12)
    assert all(torch.equal(bench.weights[name], value) for name, value in before.items()), "weights stay as they are"


def test_as_many_batches_as_asked_for(bench: StructureBench) -> None:
    alone = StructureBench(Gated(), [images(1)])
    found, wanted = signals(bench, bench.weights, 4, 1), signals(alone, alone.weights, 4, None)
    assert torch.equal(found["first"]["taylor_weight"], wanted["first"]["taylor_weight"])


def test_features_are_tapped_behind_the_normalisation() -> None:
    assert gates(Gated(), torch.zeros(2, 1, 8, 8)) == {"first": "norm", "second": "second", "fc": "fc"}


def test_weight_norm_and_scale(bench: StructureBench) -> None:
    net = bench.net(bench.weights)
    norms = filter_scores(bench, bench.weights, "weight_norm", 4, None)["weight_norm"]
    assert norms["second"].tolist() == pytest.approx(net.second.weight.square().sum((1, 2, 3)).tolist())
    assert norms["fc"].tolist() == pytest.approx(net.fc.weight.square().sum(1).tolist())
    scales = filter_scores(bench, bench.weights, "bn_scale", 4, None)["bn_scale"]
    assert set(scales) == {"first"}, "no other layer has a scale"
    assert scales["first"].tolist() == pytest.approx(net.norm.weight.abs().tolist())


def test_features_are_divided_by_the_layers_norm(bench: StructureBench) -> None:
    raw = signals(bench, bench.weights, 4, None)["second"]["taylor_feature"]
    scores = filter_scores(bench, bench.weights, "taylor_feature", 4, None)["taylor_feature"]["second"]
    assert float(scores.norm()) == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(scores, raw / (raw.norm() + 1e-8))


def test_random_scores_come_from_the_seed(bench: StructureBench) -> None:
    once, again = (filter_scores(bench, bench.weights, "random", 4, None)["random"] for _ in range(2))
    assert all(torch.equal(once[name], again[name]) for name in once)
    other = StructureBench(Gated())
    other.seed = 1
    assert not torch.equal(once["second"], filter_scores(other, other.weights, "random", 4, None)["random"]["second"])


def test_an_ensemble_adds_ranks_up() -> None:
    scores = {
        "a": torch.tensor([0.1, 0.3, 0.2, 9.0]),  # ranks 0 2 1 3
        "b": torch.tensor([5.0, 5.0, 1.0, 2.0]),  # ranks 2 3 0 1: of the equal two the earlier is lower
    }
    assert ranked(scores).tolist() == [2, 5, 1, 4]
    assert ranked({"a": scores["a"]}).tolist() == scores["a"].tolist(), "a criterion alone is its own score"


def test_an_ensemble_is_made_of_all_that_need_no_classes(bench: StructureBench) -> None:
    assert set(filter_scores(bench, bench.weights, "ensemble", 4, None)) == set(ENSEMBLE)


@pytest.mark.parametrize(
    ("shape", "length"),
    [((2, 16, 8, 8), 16 * 36), ((2, 512, 4, 4), 512), ((2, 64, 4, 4), 64 * 9), ((2, 7), 7), ((2, 5, 1, 1), 5)],
)
def test_embeddings_are_about_512_long(shape: tuple[int, ...], length: int) -> None:
    assert embedding(torch.zeros(shape)).shape == (2, length)  # places: round(sqrt(512 / C)) in each direction


def test_embeddings_are_means_over_places() -> None:
    features = torch.arange(16.0).reshape(1, 1, 4, 4).expand(1, 512, 4, 4)
    assert embedding(features).unique().tolist() == [7.5]


class Telling(nn.Module):
    """A block whose features tell the classes apart, which the images do not, and one that spoils them."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.tells = nn.Linear(2, 2, bias=False)
        self.spoils = nn.Linear(2, 2, bias=False)
        self.tells.weight.data = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
        self.spoils.weight.data = torch.zeros(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.spoils(self.tells(x.flatten(1)))


def test_imprinting_measures_what_a_block_adds() -> None:
    # imprinted are (1, 10) and (-1, 30), scaled to length 1: the second number outweighs the first, which tells
    train = (torch.tensor([[1.0, 10], [-1, 30]]).reshape(2, 1, 1, 2), torch.tensor([0, 1]))
    held_out = (torch.tensor([[0.1, 10], [-0.1, 10]]).reshape(2, 1, 1, 2), torch.tensor([0, 1]))
    bench = StructureBench(Telling(), [train], [held_out], (1, 1, 2), 2)
    ends = [("tells", "tells"), ("spoils", "spoils")]
    assert gains(bench, bench.weights, ends, 4, None) == {"tells": 0.5, "spoils": -0.5}


def test_imprinting_measures_on_training_images_where_none_are_held_out() -> None:
    pictures = torch.tensor([[1.0, 5], [1, -5], [-1, 5], [-1, -5]]).reshape(4, 1, 1, 2)
    bench = StructureBench(Telling(), [(pictures, torch.tensor([0, 0, 1, 1]))], [], (1, 1, 2), 2)
    assert gains(bench, bench.weights, [("spoils", "spoils")], 4, None) == {"spoils": -0.5}
