"""Fake images: what is asked for, the same for the same seed, and learnable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from orchestrator.engine.data import DataError, DataSet, load_data
from orchestrator.engine.data.fake import load_fake
from orchestrator.spec.data import Fake


def _fake(**options: Any) -> DataSet:
    return load_fake(Fake(name="fake", **{"shape": (3, 6, 7), "classes": 4, "train": 40, "test": 12, **options}))


def test_shape_classes_and_counts_are_those_asked_for() -> None:
    data = _fake(validation=0.2)
    assert (data.shape, data.classes) == ((3, 6, 7), ("0", "1", "2", "3"))
    assert np.bincount(data.train.labels).tolist() == [8] * 4
    assert np.bincount(data.validation.labels).tolist() == [2] * 4
    assert data.test.labels.tolist() == [0, 1, 2, 3] * 3
    assert data.train.images.shape == (40, 6, 7, 3)
    assert data.train.images.dtype == np.uint8
    assert data.mean == pytest.approx(tuple((data.train.images / 255).mean((0, 1, 2))))


def test_the_seed_decides_the_images() -> None:
    first, again, other = _fake(), _fake(), _fake(seed=1)
    assert first.fingerprint == again.fingerprint
    assert np.array_equal(first.train.images, again.train.images)
    assert first.fingerprint != other.fingerprint


def test_images_of_a_class_share_its_pattern_and_nothing_else() -> None:
    data = _fake(train=4000, validation=0.0)
    images, labels = data.train.images.astype(float), data.train.labels
    means = np.stack([images[labels == label].mean(0) for label in range(4)])
    # the nearest mean of a class, found on the training images, tells all test images apart
    distances = ((data.test.images[:, None] - means) ** 2).sum((2, 3, 4))
    assert (distances.argmin(1) == data.test.labels).all()
    noise = images - means[labels]
    assert noise.std() == pytest.approx(128 / 12**0.5, rel=0.02)  # uniform over half of the range


def test_a_class_without_images_is_named() -> None:
    with pytest.raises(DataError) as raised:
        load_data(Fake(name="fake", classes=3, train=6, test=2, validation=0.0))
    assert raised.value.problems == ["1 classes have no test images: 2; every class needs some"]
