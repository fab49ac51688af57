"""Batches: what is drawn, cut, mirrored and normalised, checked against plain loops."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from orchestrator.engine.data import Batches, DataError, DataSet, Split
from orchestrator.engine.data import batches as batches_module
from orchestrator.spec.models import Augmentation

CPU = torch.device("cpu")
MEAN, STD = (0.5, 0.25, 0.1), (0.2, 0.3, 0.4)


def _data(train_rows: list[int], height: int = 4, width: int = 5) -> DataSet:
    """Twelve random images of three classes, label = row % 3; the test split is all of them."""
    images = np.random.default_rng(0).integers(1, 256, (12, height, width, 3), dtype=np.uint8)

    def split(rows: list[int]) -> Split:
        own = np.array(rows, np.int64)
        return Split(images, own, own % 3)

    return DataSet(
        "made",
        ("a", "b", "c"),
        (3, height, width),
        MEAN,
        STD,
        split(train_rows),
        split([]),
        split(list(range(12))),
        "",
    )


def _raw(images: torch.Tensor) -> np.ndarray:
    """Normalised images (N, C, H, W) back to bytes (N, H, W, C)."""
    values = images * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
    return np.rint((values * 255).permute(0, 2, 3, 1).numpy()).astype(int)


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_batch_is_normalised_channels_last_and_in_the_order_asked_for() -> None:
    data = _data([7, 3, 5, 9])
    images, labels = Batches(data, Augmentation(), CPU).train(torch.tensor([2, 0]), _seeded())
    expected = (data.train.images[[5, 7]] / 255 - MEAN) / STD
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(images.numpy(), expected.transpose(0, 3, 1, 2), atol=1e-6)
    assert labels.tolist() == [5 % 3, 7 % 3]
    assert labels.dtype == torch.int64


def test_channels_last_can_be_left_off() -> None:
    data = _data([0, 1])
    both = [
        Batches(data, Augmentation(), CPU, channels_last=last).train(torch.tensor([0, 1]), _seeded())[0]
        for last in (True, False)
    ]
    assert both[1].is_contiguous()
    assert torch.equal(*both)


@pytest.mark.parametrize("flip", [False, True])
def test_a_crop_is_a_window_of_the_image_padded_with_black(flip: bool) -> None:
    data = _data(list(range(12)))
    batches = Batches(data, Augmentation(crop=2, flip=flip), CPU)
    positions = torch.arange(12).repeat(40)
    cut = _raw(batches.train(positions, _seeded())[0])
    seen = set()
    for image, position in zip(cut, positions.tolist(), strict=True):
        padded = np.pad(data.train.images[position].astype(int), ((2, 2), (2, 2), (0, 0)))
        windows = {
            (top, left, mirrored): padded[top : top + 4, left : left + 5][:, :: -1 if mirrored else 1]
            for top in range(5)
            for left in range(5)
            for mirrored in ((False, True) if flip else (False,))
        }
        places = [place for place, window in windows.items() if np.array_equal(window, image)]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) == (50 if flip else 25)  # every place is drawn, and every place mirrored


def test_half_of_the_images_are_mirrored_left_to_right() -> None:
    data = _data([4])
    images = _raw(Batches(data, Augmentation(flip=True), CPU).train(torch.zeros(400, dtype=torch.int64), _seeded())[0])
    original = data.train.images[4].astype(int)
    kept = [np.array_equal(image, original) for image in images]
    mirrored = [np.array_equal(image, original[:, ::-1]) for image in images]
    assert all(a != b for a, b in zip(kept, mirrored, strict=True))
    assert 150 < sum(mirrored) < 250


def test_the_generator_alone_decides_a_batch() -> None:
    batches = Batches(_data(list(range(12))), Augmentation(crop=2, flip=True), CPU)
    positions = torch.arange(12)
    first, again, other = (batches.train(positions, _seeded(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_no_batch_changes_the_images_themselves() -> None:
    data = _data(list(range(12)))
    before = data.train.images.copy()
    batches = Batches(data, Augmentation(crop=2, flip=True), CPU)
    batches.train(torch.arange(12), _seeded())
    list(batches.evaluation("test"))
    assert np.array_equal(data.train.images, before)


def test_read_only_images_are_served() -> None:
    data = _data(list(range(12)))
    data.train.images.flags.writeable = False
    images, _ = Batches(data, Augmentation(crop=1), CPU).train(torch.arange(12), _seeded())
    assert images.shape == (12, 3, 4, 5)


def test_an_order_is_a_permutation_of_the_training_split() -> None:
    order = Batches(_data([7, 3, 5, 9]), Augmentation(), CPU).order(_seeded())
    assert sorted(order.tolist()) == [0, 1, 2, 3]


def test_evaluation_goes_through_a_split_in_order_without_augmentation() -> None:
    data = _data([0])
    batches = list(Batches(data, Augmentation(crop=2, flip=True), CPU).evaluation("test", batch_size=5))
    assert [len(labels) for _, labels in batches] == [5, 5, 2]
    assert np.array_equal(_raw(torch.cat([images for images, _ in batches])), data.test.images)
    assert torch.cat([labels for _, labels in batches]).tolist() == [row % 3 for row in range(12)]


def test_evaluation_of_an_empty_split_gives_nothing() -> None:
    assert list(Batches(_data([0]), Augmentation(), CPU).evaluation("validation")) == []


def test_a_scoring_batch_is_balanced_shuffled_and_without_replacement() -> None:
    data = _data(list(range(12)))
    images, labels = Batches(data, Augmentation(), CPU).scoring(3, _seeded())
    assert torch.bincount(labels).tolist() == [3, 3, 3]
    assert labels.tolist() != sorted(labels.tolist())
    raw = _raw(images)
    rows = [next(r for r in range(12) if np.array_equal(data.train.images[r], image)) for image in raw]
    assert len(set(rows)) == 9
    assert [row % 3 for row in rows] == labels.tolist()


def test_a_scoring_batch_is_augmented() -> None:
    data = _data(list(range(12)))
    plain, _ = Batches(data, Augmentation(), CPU).scoring(3, _seeded())
    cut, _ = Batches(data, Augmentation(crop=2), CPU).scoring(3, _seeded())
    assert not torch.equal(plain, cut)


def test_a_class_too_small_for_the_scoring_batch_is_named() -> None:
    with pytest.raises(DataError) as raised:
        Batches(_data([0, 1, 3, 4, 5]), Augmentation(), CPU).scoring(2, _seeded())
    assert str(raised.value) == (
        "a scoring batch of 2 images a class was asked for, but class 'c' has 1 training images; ask for fewer a class"
    )


def test_images_held_on_the_device_give_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    data, augmentation = _data([7, 3, 5, 9, 8]), Augmentation(crop=2, flip=True)
    mapped, held = Batches(data, augmentation, CPU), Batches(data, augmentation, CPU)
    monkeypatch.setattr(held, "_resident", batches_module._resident(data, CPU))
    for position in ("train", "test"):
        assert held._resident[position].shape == (12, 4, 5, 3)
    for ours, theirs in zip(
        held.train(torch.tensor([4, 0, 2]), _seeded()), mapped.train(torch.tensor([4, 0, 2]), _seeded()), strict=True
    ):
        assert torch.equal(ours, theirs)
    assert torch.equal(next(held.evaluation("test"))[0], next(mapped.evaluation("test"))[0])


def test_images_that_splits_share_are_held_once_and_large_ones_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _data([0, 1])
    shared = dataclasses.replace(data, validation=dataclasses.replace(data.train, indices=np.array([2])))
    held = batches_module._resident(shared, CPU)
    assert held["validation"] is held["train"]
    monkeypatch.setattr(batches_module, "RESIDENT_BYTES", data.train.images.nbytes - 1)
    assert batches_module._resident(_data([0, 1]), CPU) == {}
