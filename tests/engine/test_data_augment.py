"""Random cuts and rotations against torchvision, and how their draws are spread."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode, functional

from orchestrator.engine.data.augment import Cuts, cut, cut_and_resize, rotate


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (50, 12, 17, 3), dtype=torch.uint8, generator=_seeded(9))


def _planes(images: torch.Tensor) -> torch.Tensor:
    return images.permute(0, 3, 1, 2).float()


def test_a_cut_is_resized_as_torchvision_does(images: torch.Tensor) -> None:
    found = cut_and_resize(images, (0.1, 0.9), _seeded())
    assert found.shape == images.shape
    assert found.dtype == torch.uint8
    cuts = Cuts.draw(50, (0.1, 0.9), _seeded())
    boxes = [cuts.of(i, 12, 17) for i in range(50)]
    expected = torch.stack(
        [functional.resized_crop(each, *box, [12, 17]) for each, box in zip(_planes(images), boxes, strict=True)]
    )
    assert (found.permute(0, 3, 1, 2) - expected).abs().max() <= 0.51  # rounded to whole grey levels
    assert len(set(boxes)) > 40


def test_a_cut_of_everything_is_the_image(images: torch.Tensor) -> None:
    square = images[:, :, :12]
    # shares of 1 need a square; other shapes do not fit, and the tenth try takes the middle: everything
    assert torch.equal(cut_and_resize(square, (1.0, 1.0), _seeded()), square)


def test_shares_and_shapes_of_cuts_are_spread_as_asked() -> None:
    drawn = Cuts.draw(4000, (0.1, 0.5), _seeded()).drawn
    boxes = np.array([cut(each, 400, 400, (0.1, 0.5)) for each in drawn])
    shares = boxes[:, 2] * boxes[:, 3] / 400**2
    shapes = np.log(boxes[:, 3] / boxes[:, 2])
    assert 0.099 < shares.min() < 0.105
    assert 0.495 < shares.max() < 0.501
    assert shares.mean() == pytest.approx(0.3, abs=0.01)  # uniform
    assert np.abs(shapes).max() <= math.log(4 / 3) + 0.02
    assert shapes.mean() == pytest.approx(0, abs=0.01)
    assert (boxes[:, 0] + boxes[:, 2] <= 400).all()
    assert (boxes[:, 1] + boxes[:, 3] <= 400).all()
    assert (boxes[:, 0] == 0).any()
    assert (boxes[:, 0] + boxes[:, 2] == 400).any()


@pytest.mark.parametrize(
    ("size", "expected"),
    [((10, 100), (0, 43, 10, 13)), ((100, 10), (43, 0, 13, 10)), ((30, 30), (0, 0, 30, 30))],
)
def test_where_no_cut_fits_the_middle_is_taken(size: tuple[int, int], expected: tuple[int, ...]) -> None:
    impossible = np.full((10, 4), 0.999)  # nearly all of the area at 4:3
    assert cut(impossible, *size, (1.0, 1.0)) == expected


def test_a_rotation_is_torchvisions(images: torch.Tensor) -> None:
    angles = torch.empty(50, dtype=torch.float64).uniform_(-30, 30, generator=_seeded())
    found = rotate(images, 30, _seeded()).permute(0, 3, 1, 2)
    for i, angle in enumerate(angles.tolist()):
        expected = functional.rotate(_planes(images)[i], angle, InterpolationMode.NEAREST)
        assert (found[i] != expected).float().mean() < 0.01  # a place halfway between two pixels may fall to either
    assert angles.min() < -25
    assert angles.max() > 25


def test_a_rotation_fills_with_black_and_leaves_the_middle() -> None:
    white = torch.full((200, 9, 9, 1), 255, dtype=torch.uint8)
    turned = rotate(white, 45, _seeded())[..., 0]
    assert (turned[:, 2:7, 2:7] == 255).all()
    assert set(turned.unique().tolist()) == {0, 255}
    # an area of 9x9 turned by an angle between 0 and 45 degrees covers 83 to 100 % of its place
    assert 0.8 < (turned == 255).float().mean() < 0.95


def test_a_rotation_by_nothing_changes_nothing(images: torch.Tensor) -> None:
    assert torch.equal(rotate(images, 1e-9, _seeded()), images)
