"""scikit-learn's handwritten digits: 1,797 real 8x8 grey images of 10 classes, embedded in the package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from orchestrator.engine.data.dataset import DataSet, Split, array_digest, hold_out
from orchestrator.engine.data.moments import moments
from orchestrator.spec.data import Digits


def load_digits(data: Digits) -> DataSet:
    """The digits, their grey levels 0..16 spread over 0..255. Test and validation are drawn class by class;
    the normalisation is measured on all images but the test's. Raises DataError where a split takes all."""
    table = np.loadtxt(_packaged_file(), delimiter=",")  # 64 grey levels and the label a row
    images = np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    labels = table[:, -1].astype(np.int64)
    classes = tuple(map(str, range(10)))

    everything = np.arange(len(labels))
    kept, test = hold_out(everything, labels, data.test, classes, data.split_seed, "test")
    train, validation = hold_out(kept, labels, data.validation, classes, data.split_seed, "validation")
    mean, std = moments(images, kept)
    return DataSet(
        name="digits",
        classes=classes,
        shape=(1, 8, 8),
        mean=mean,
        std=std,
        train=Split(images, train, labels[train]),
        validation=Split(images, validation, labels[validation]),
        test=Split(images, test, labels[test]),
        content=array_digest(images),
    )


def _packaged_file() -> Path:
    """scikit-learn's file of the digits, found without importing scikit-learn: that takes each worker seconds."""
    package = importlib.util.find_spec("sklearn")
    assert package is not None  # Jackpot requires it
    assert package.origin is not None
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
