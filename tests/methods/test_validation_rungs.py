"""What a ticket is worth before it is trained, by hand on tiny nets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from benches import ScoringBench
from torch import nn

from methods.rungs import BATCHES, validation_accuracy

Batches = list[tuple[torch.Tensor, torch.Tensor]]


class ImagesBench(ScoringBench):
    """Hands out given batches of each split, whatever batch size is asked for."""

    def __init__(self, net: nn.Module, validation: Batches, train: Batches | None = None) -> None:
        super().__init__(net, [])
        self.net_, self.splits, self.handed = net, {"validation": validation, "train": train or []}, 0

    def images(self, split: str, batch: int, part: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for each in self.splits[split]:
            self.handed += 1
            yield each


def batch(images: list[list[float]], labels: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(images, dtype=torch.float32), torch.tensor(labels)


def values(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


# Accuracy


@pytest.fixture
def identity() -> ImagesBench:
    """Two inputs that are the logits; four images in batches of 3 and 1."""
    net = nn.Sequential(nn.Linear(2, 2, bias=False))
    net[0].weight.data = torch.eye(2)
    return ImagesBench(net, [batch([[1, 0], [0, 1], [2, 1]], [0, 1, 0]), batch([[1, 2]], [0])])


def test_accuracy_is_the_share_of_all_validation_images(identity: ImagesBench) -> None:
    # three of the first batch and none of the second: 3/4, not the mean of 1 and 0
    found = validation_accuracy(identity, values(identity.net_), {}, recalibrate=False)
    assert found["accuracy"].item() == 0.75
    assert found["accuracy"].dtype == torch.float64


def test_the_masks_are_applied(identity: ImagesBench) -> None:
    # logits (0, x): a tie goes to class 0, so (1, 0) and (0, 1) are right, and (2, 1) and (1, 2) are not
    weights = values(identity.net_)
    masks = {"0": torch.tensor([[False, True], [True, True]])}
    assert validation_accuracy(identity, weights, masks, recalibrate=False)["accuracy"].item() == 0.5
    assert torch.equal(weights["0.weight"], torch.eye(2))


def test_a_mask_of_a_layer_that_was_removed_is_passed_over(identity: ImagesBench) -> None:
    masks = {"gone": torch.zeros(3, 3, dtype=torch.bool)}
    assert validation_accuracy(identity, values(identity.net_), masks, recalibrate=False)["accuracy"].item() == 0.75


# Batch norm's averages


class Normed(nn.Module):
    """A factor, batch norm, then class 0 for what is above its average."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Linear(1, 1, bias=False)
        self.norm = nn.BatchNorm1d(1)
        self.fc = nn.Linear(1, 2, bias=False)
        self.factor.weight.data = torch.tensor([[1.0]])
        self.fc.weight.data = torch.tensor([[1.0], [-1.0]])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.norm(self.factor(x)))


TRAIN = [batch([[1.0], [3.0]], [0, 0]), batch([[5.0], [9.0]], [0, 0])]
"""Means 2 and 7, variances (over n - 1) 2 and 8."""
VALIDATION = [batch([[3.0], [5.0]], [1, 0])]


def test_averages_are_measured_on_the_training_images() -> None:
    bench = ImagesBench(Normed(), VALIDATION, TRAIN)
    found = validation_accuracy(bench, values(bench.net_), {}, recalibrate=True)
    assert (bench.net_.norm.running_mean.item(), bench.net_.norm.running_var.item()) == (4.5, 5.0)
    assert found["accuracy"].item() == 1.0  # 3 lies below 4.5, 5 above


def test_without_recalibration_the_averages_are_those_that_were_there() -> None:
    bench = ImagesBench(Normed(), VALIDATION, TRAIN)
    found = validation_accuracy(bench, values(bench.net_), {}, recalibrate=False)
    assert (bench.net_.norm.running_mean.item(), bench.net_.norm.running_var.item()) == (0.0, 1.0)
    assert found["accuracy"].item() == 0.5  # both lie above 0
    assert bench.handed == len(VALIDATION)


def test_the_averages_are_those_of_the_masked_network() -> None:
    bench = ImagesBench(Normed(), VALIDATION, TRAIN)
    validation_accuracy(bench, values(bench.net_), {"factor": torch.tensor([[False]])}, recalibrate=True)
    assert (bench.net_.norm.running_mean.item(), bench.net_.norm.running_var.item()) == (0.0, 0.0)


def test_a_few_batches_are_enough_and_one_image_is_passed_over() -> None:
    alone = batch([[1000.0]], [0])
    wild = batch([[100.0], [200.0]], [0, 0])
    bench = ImagesBench(Normed(), VALIDATION, [alone, *TRAIN, *TRAIN[:1] * (BATCHES - 3), wild])
    validation_accuracy(bench, values(bench.net_), {}, recalibrate=True)
    # eight batches: one of a single image, five more of mean 2, one of mean 7, one of mean 2
    assert bench.net_.norm.running_mean.item() == pytest.approx((2 * 6 + 7) / 7)


def test_the_network_is_looked_at_as_it_is_used() -> None:
    """Dropout, on while averages are measured, is off while images are counted."""
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Dropout(0.999))
    net[0].weight.data = torch.eye(2)
    bench = ImagesBench(net, [batch([[0, 1]] * 50, [1] * 50)])
    assert validation_accuracy(bench, values(net), {}, recalibrate=True)["accuracy"].item() == 1.0
