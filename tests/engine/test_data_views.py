"""Views: exactly what each changes, what it leaves alone, and that its fingerprint says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from orchestrator.engine.data import (
    Batches,
    DataError,
    DataSet,
    Split,
    class_block,
    half,
    load_data,
    permuted_pixels,
    random_labels,
)
from orchestrator.engine.data.batches import _held, _resident
from orchestrator.engine.data.views import Permuted
from orchestrator.engine.seeds import generator
from orchestrator.spec.data import Digits
from orchestrator.spec.models import Augmentation

CPU = torch.device("cpu")


@pytest.fixture
def data() -> DataSet:
    """Sixty images of six classes, label = row % 6; every fifth row is for validation, twelve for the test."""
    images = np.random.default_rng(0).integers(0, 256, (60, 4, 5, 3), dtype=np.uint8)
    images.flags.writeable = False
    test = np.random.default_rng(1).integers(0, 256, (12, 4, 5, 3), dtype=np.uint8)
    rows = np.arange(60)
    held = rows % 5 == 0

    def split(array: np.ndarray, own: np.ndarray) -> Split:
        return Split(array, own, own % 6)

    parts = split(images, rows[~held]), split(images, rows[held]), split(test, np.arange(12))
    return DataSet("made", tuple("abcdef"), (3, 4, 5), (0.5,) * 3, (0.25,) * 3, *parts, "content")


def _same(ours: Split, theirs: Split) -> bool:
    return (
        ours.images is theirs.images
        and np.array_equal(ours.indices, theirs.indices)
        and np.array_equal(ours.labels, theirs.labels)
    )


# Class blocks


def test_a_block_holds_its_classes_alone_in_all_three_splits_counted_from_0(data: DataSet) -> None:
    block = class_block(data, 1, 3)
    assert block.classes == ("c", "d")
    for ours, theirs in ((block.train, data.train), (block.validation, data.validation), (block.test, data.test)):
        inside = [row for row in theirs.indices if row % 6 in (2, 3)]
        assert ours.indices.tolist() == inside
        assert ours.labels.tolist() == [row % 6 - 2 for row in inside]
        assert ours.images is theirs.images
    assert (block.mean, block.std, block.shape) == (data.mean, data.std, data.shape)


def test_blocks_are_the_whole(data: DataSet) -> None:
    blocks = [class_block(data, i, 2) for i in range(2)]
    assert sorted(np.concatenate([block.train.indices for block in blocks])) == data.train.indices.tolist()
    assert sum((block.classes for block in blocks), ()) == data.classes


@pytest.mark.parametrize(("block", "of"), [(0, 4), (0, 6), (2, 2), (-1, 2)])
def test_blocks_that_are_not_there_are_refused(data: DataSet, block: int, of: int) -> None:
    with pytest.raises(DataError, match=r"do not make|there is no block"):
        class_block(data, block, of)


def test_a_block_is_served_as_a_data_set(data: DataSet) -> None:
    block = class_block(data, 2, 3)
    batches = Batches(block, Augmentation(), CPU)
    (images, labels), *more = batches.evaluation("test")
    assert not more
    assert labels.tolist() == [0, 1, 0, 1]
    expected = (data.test.images[[4, 5, 10, 11]] / 255 - 0.5) / 0.25
    np.testing.assert_allclose(images.numpy(), expected.transpose(0, 3, 1, 2), atol=1e-6)
    assert len(batches.order(generator(0, "x"))) == 16
    assert torch.bincount(batches.scoring(3, generator(0, "x"))[1]).tolist() == [3, 3]


# Half


def test_half_takes_half_of_every_class_of_the_training_images_alone(data: DataSet) -> None:
    part = half(data, 0)
    assert np.bincount(data.train.labels).tolist() == [8] * 6
    assert np.bincount(part.train.labels).tolist() == [4] * 6
    assert set(part.train.indices) < set(data.train.indices)
    assert np.array_equal(part.train.labels, part.train.indices % 6)
    assert _same(part.validation, data.validation)
    assert _same(part.test, data.test)
    assert part.train.images is data.train.images
    assert half(data, 1).train.indices.tolist() != part.train.indices.tolist()


def test_half_of_one_image_is_one(data: DataSet) -> None:
    few = dataclasses.replace(data, train=Split(data.train.images, np.arange(9), np.arange(9) % 6))
    assert np.bincount(half(few, 0).train.labels).tolist() == [1] * 6


# Random labels


def test_random_labels_replace_the_training_labels_alone() -> None:
    data = load_data(Digits())
    spoilt = random_labels(data, 12345)
    assert _same(spoilt.validation, data.validation)
    assert _same(spoilt.test, data.test)
    assert spoilt.train.images is data.train.images
    assert np.array_equal(spoilt.train.indices, data.train.indices)
    count = len(data.train.labels)
    expected = torch.randint(10, (count,), generator=generator(12345, "random labels"))
    assert spoilt.train.labels.tolist() == expected.tolist()
    right = (spoilt.train.labels == data.train.labels).mean()
    assert right == pytest.approx(0.1, abs=3 * (0.09 / count) ** 0.5)
    assert np.bincount(spoilt.train.labels, minlength=10).min() > 0.7 * count / 10


# Permuted pixels


def test_each_training_image_has_its_values_in_an_order_of_its_own(data: DataSet) -> None:
    spoilt = permuted_pixels(data, 7)
    rows = np.array([12, 3, 59])
    found = spoilt.train.images[rows]
    orders = [torch.randperm(60, generator=generator(7, "pixels", row)).numpy() for row in (12, 3, 59)]
    for image, row, order in zip(found, rows, orders, strict=True):
        assert np.array_equal(image.ravel(), data.train.images[row].ravel()[order])
        assert sorted(image.ravel()) == sorted(data.train.images[row].ravel())
    assert not np.array_equal(orders[0], orders[1])
    assert np.array_equal(spoilt.train.images[rows[::-1]], found[::-1])  # the same each time, in any company
    assert np.array_equal(spoilt.train.labels, data.train.labels)
    assert _same(spoilt.validation, data.validation)
    assert _same(spoilt.test, data.test)


def test_permuted_pixels_are_augmented_afterwards(data: DataSet) -> None:
    spoilt = permuted_pixels(data, 7)
    positions = torch.arange(10)
    images, labels = Batches(spoilt, Augmentation(crop=1, flip=True), CPU).train(positions, generator(0, "a"))
    copied = dataclasses.replace(spoilt, train=Split(spoilt.train.images[np.arange(60)], *_rest(spoilt)))
    expected, _ = Batches(copied, Augmentation(crop=1, flip=True), CPU).train(positions, generator(0, "a"))
    assert torch.equal(images, expected)
    assert labels.tolist() == data.train.labels[:10].tolist()


def _rest(data: DataSet) -> tuple[np.ndarray, np.ndarray]:
    return data.train.indices, data.train.labels


def test_permuted_pixels_are_held_on_a_device_like_any_other(data: DataSet) -> None:
    spoilt = permuted_pixels(data, 7)
    held = _resident(spoilt, CPU)
    assert np.array_equal(held["train"].numpy(), spoilt.train.images[np.arange(60)])
    assert np.array_equal(held["validation"].numpy(), data.train.images)
    shared = _resident(class_block(data, 0, 2), CPU)
    assert shared["train"] is held["validation"]  # of one array a device holds one copy, whatever the view
    assert shared["test"] is held["test"]
    for seed in range(8):
        _resident(permuted_pixels(data, seed), CPU)
    assert len(_held) == 4


# Fingerprints

VIEWS: dict[str, Callable[[DataSet], DataSet]] = {
    "itself": lambda data: data,
    "block 0 of 2": lambda data: class_block(data, 0, 2),
    "block 1 of 2": lambda data: class_block(data, 1, 2),
    "block 0 of 3": lambda data: class_block(data, 0, 3),
    "half 0": lambda data: half(data, 0),
    "half 1": lambda data: half(data, 1),
    "labels 0": lambda data: random_labels(data, 0),
    "labels 1": lambda data: random_labels(data, 1),
    "pixels 0": lambda data: permuted_pixels(data, 0),
    "pixels 1": lambda data: permuted_pixels(data, 1),
    "pixels 0, labels 0": lambda data: random_labels(permuted_pixels(data, 0), 0),
    "half of pixels 0": lambda data: half(permuted_pixels(data, 0), 0),
}


def test_every_view_has_a_fingerprint_of_its_own_that_stays(data: DataSet) -> None:
    first = {name: view(data).fingerprint for name, view in VIEWS.items()}
    assert len(set(first.values())) == len(VIEWS)
    assert {name: view(data).fingerprint for name, view in VIEWS.items()} == first


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_view_of_other_images_has_another_fingerprint(data: DataSet, view: Callable[[DataSet], DataSet]) -> None:
    other = dataclasses.replace(data, content="another")
    assert view(other).fingerprint != view(data).fingerprint


def test_views_of_views_keep_to_the_images_they_were_given(data: DataSet) -> None:
    block = class_block(permuted_pixels(data, 3), 1, 2)
    row = int(block.train.indices[2])
    order = torch.randperm(60, generator=generator(3, "pixels", row)).numpy()
    assert np.array_equal(block.train.images[np.array([row])].ravel(), data.train.images[row].ravel()[order])


def test_views_copy_no_images(data: DataSet) -> None:
    for view in VIEWS.values():
        made = view(data)
        assert made.validation.images is data.validation.images
        assert made.test.images is data.test.images
        assert isinstance(made.train.images, Permuted) or made.train.images is data.train.images
