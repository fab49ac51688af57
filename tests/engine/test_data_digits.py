"""The embedded digits: what they hold, how they are split, what their fingerprint covers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from sklearn import datasets

from orchestrator.engine.data import DataError, DataSet, Split, load_data
from orchestrator.engine.data.dataset import hold_out
from orchestrator.engine.data.digits import load_digits
from orchestrator.engine.data.moments import moments
from orchestrator.spec.data import Digits


def test_the_images_are_scikit_learns_spread_over_a_byte() -> None:
    data, raw = load_data(Digits()), datasets.load_digits()
    assert data.shape == (1, 8, 8)
    assert data.classes == tuple("0123456789")
    for split in (data.train, data.validation, data.test):
        assert split.images.dtype == np.uint8
        assert np.abs(split.images[split.indices][..., 0] - raw.images[split.indices] * 255 / 16).max() <= 0.5
        assert (split.labels == raw.target[split.indices]).all()


def test_every_image_is_in_one_split_and_every_class_in_each() -> None:
    data = load_data(Digits(test=0.2, validation=0.1))
    splits = (data.train, data.validation, data.test)
    assert sorted(np.concatenate([split.indices for split in splits])) == list(range(1797))
    train, validation, test = (np.bincount(split.labels, minlength=10) for split in splits)
    assert (np.abs(test - 0.2 * (train + validation + test)) <= 0.5).all()
    assert (np.abs(validation - 0.1 * (train + validation)) <= 0.5).all()


def test_no_validation_leaves_an_empty_split() -> None:
    data = load_data(Digits(validation=0.0))
    assert len(data.validation.labels) == len(data.validation.indices) == 0
    assert len(data.train.labels) + len(data.test.labels) == 1797


def test_a_split_seed_repeats_its_draw_and_another_draws_anew() -> None:
    first, again, other = (load_digits(Digits(split_seed=seed)) for seed in (1, 1, 2))
    assert first.fingerprint == again.fingerprint
    assert np.array_equal(first.validation.indices, again.validation.indices)
    assert not np.array_equal(first.test.indices, other.test.indices)


def test_a_process_loads_a_data_set_once() -> None:
    assert load_data(Digits()) is load_data(Digits())


@pytest.mark.parametrize("change", [{"test": 0.3}, {"validation": 0.2}, {"split_seed": 1}])
def test_the_fingerprint_follows_the_options_of_the_split(change: dict[str, Any]) -> None:
    assert load_data(Digits(**change)).fingerprint != load_data(Digits()).fingerprint


def _tiny(**change: Any) -> DataSet:
    images = np.zeros((3, 2, 2, 1), np.uint8)
    split = Split(images, np.array([0]), np.array([0]))
    data = DataSet("tiny", ("a", "b"), (1, 2, 2), (0.5,), (0.2,), split, split, split, "content")
    return dataclasses.replace(data, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"content": "another byte"},
        {"classes": ("a", "c")},
        {"mean": (0.4,)},
        {"std": (0.3,)},
        {"train": Split(np.zeros((3, 2, 2, 1), np.uint8), np.array([0]), np.array([1]))},
        {"test": Split(np.zeros((3, 2, 2, 1), np.uint8), np.array([1]), np.array([0]))},
    ],
)
def test_the_fingerprint_covers_content_labels_classes_splits_and_normalisation(change: dict[str, Any]) -> None:
    assert _tiny(**change).fingerprint != _tiny().fingerprint
    assert _tiny().fingerprint == _tiny(name="renamed").fingerprint


def test_the_normalisation_is_measured_on_all_images_but_the_tests() -> None:
    data = load_data(Digits())
    rows = np.concatenate([data.train.indices, data.validation.indices])
    values = data.train.images[rows] / 255
    assert data.mean == pytest.approx((values.mean(),))
    assert data.std == pytest.approx((values.std(),))


def test_moments_of_a_constant_channel_never_divide_by_zero() -> None:
    images = np.zeros((4, 2, 2, 2), np.uint8)
    images[..., 1] = [[0, 255], [255, 0]]
    assert moments(images) == ((0.0, pytest.approx(0.5)), (pytest.approx(1 / 255), pytest.approx(0.5)))


def test_holding_out_takes_at_least_one_image_a_class() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    stay, out = hold_out(np.arange(6), labels, 0.01, ("a", "b"), 0, "validation")
    assert sorted(labels[out]) == [0, 1]
    assert sorted([*stay, *out]) == list(range(6))


def test_holding_out_all_of_a_class_is_an_error_that_names_it() -> None:
    with pytest.raises(DataError) as raised:
        hold_out(np.arange(4), np.array([0, 0, 0, 1]), 0.5, ("cat", "dog"), 0, "validation")
    assert str(raised.value) == (
        "validation: 0.5 takes all 1 images of class 'dog', and none is left to train on; use a smaller fraction, "
        "or add images"
    )


def test_a_test_split_that_takes_all_is_refused() -> None:
    with pytest.raises(DataError) as raised:
        load_data(Digits(test=0.999))
    assert raised.value.problems == [
        "test: 0.999 takes all 178 images of class '0', and none is left to train on; use a smaller fraction, or "
        "add images"
    ]
