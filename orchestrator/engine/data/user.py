"""A user's own data set, named `module:factory`.

The factory is called with the section's further keys and returns a mapping:

- `train` and `test`: each a pair of images, uint8 (N, H, W, C), and labels, whole numbers (N,) from 0; arrays,
  memory-mapped ones too, or tensors;
- `validation`, if it is not to be drawn from the training images: such a pair;
- `classes`, if they have names: one for each label.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from orchestrator.engine.data.dataset import (
    DataError,
    DataSet,
    Split,
    array_digest,
    assemble,
    label_problems,
    normalisation_problems,
)
from orchestrator.engine.data.moments import moments
from orchestrator.engine.files import digest
from orchestrator.engine.nets import ModelError
from orchestrator.engine.nets.user import find_factory
from orchestrator.engine.seeds import globals_seeded
from orchestrator.engine.source import source_hash
from orchestrator.spec.data import UserData
from orchestrator.spec.problems import found, nearest

Splits = dict[str, tuple[np.ndarray, np.ndarray]]

EXPECTED = "expected a mapping with `train` and `test`, each a pair of images uint8 (N, H, W, C) and labels (N,)"


def load_user(data: UserData) -> DataSet:
    """What the factory gives, checked. It is called once a process, with the generators of Python, numpy and torch
    seeded, so that all processes see the same. Its source is part of the content's hash. Raises DataError."""
    factory = _factory(data)
    try:
        with globals_seeded(data.split_seed, "data"):
            made = factory(**data.options)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise DataError(
            f"{data.name!r} raised {type(error).__name__}: {error} ({place.filename}:{place.lineno})"
        ) from error
    splits, classes = _checked(data, made)
    train = splits["train"]
    mean, std = moments(train[0])
    return _with_validation(
        data,
        splits,
        assemble(
            data if "validation" not in splits else data.model_copy(update={"validation": 0.0}),
            classes,
            train,
            splits["test"],
            (data.mean or mean, data.std or std),
            digest([_source(data), {name: array_digest(images) for name, (images, _) in splits.items()}]),
        ),
    )


def _with_validation(data: UserData, splits: Splits, made: DataSet) -> DataSet:
    """The data set with the validation images that the factory gave, if it gave some."""
    if "validation" not in splits:
        return made
    if "validation" in data.model_fields_set:
        raise DataError(f"{data.name!r} gives validation images of its own; remove `validation` from the spec")
    images, labels = splits["validation"]
    return replace(made, validation=Split(images, np.arange(len(labels)), labels))


def _factory(data: UserData) -> Callable[..., Any]:
    """The function, if it can take the options. Raises DataError."""
    try:
        factory = find_factory(data.name)
    except ModelError as error:
        raise DataError(*(message for _, message in error.problems)) from error
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # written in C: nothing can be known
        return factory
    named = {each.name: each for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
    listed = ", ".join(named) or "none"
    problems = [
        f"{key}: unknown option{nearest(key, named)} known options: {listed}"
        for key in data.options
        if key not in named and not any(each.kind is each.VAR_KEYWORD for each in parameters)
    ]
    problems += [
        f"option {key!r} is missing; {data.name} needs it"
        for key, each in named.items()
        if each.default is each.empty and key not in data.options
    ]
    if problems:
        raise DataError(*problems)
    return factory


def _source(data: UserData) -> str:
    try:
        return source_hash(data.name.partition(":")[0])
    except ImportError as error:
        raise DataError(f"{data.name!r}: {error}; a data set's source must be a .py file") from error


def _checked(data: UserData, made: Any) -> tuple[Splits, list[str]]:
    """The splits as arrays and the names of the classes. Raises DataError with all that is wrong."""
    if not isinstance(made, Mapping) or not {"train", "test"} <= made.keys():
        what = f"a mapping with {', '.join(map(str, made)) or 'nothing'}" if isinstance(made, Mapping) else found(made)
        raise DataError(f"{data.name!r} returned {what.removeprefix('found ')}; {EXPECTED}")
    if unknown := [key for key in made if key not in ("train", "validation", "test", "classes")]:
        raise DataError(f"{data.name!r} returned {unknown[0]!r}, which is not known; {EXPECTED}")
    splits: Splits = {}
    problems: list[str] = []
    for split in (key for key in made if key != "classes"):
        try:
            images, labels = (np.asarray(each) for each in made[split])
        except (TypeError, ValueError):
            problems.append(f"{data.name!r}: {split} is no pair of images and labels; {EXPECTED}")
            continue
        if images.dtype != np.uint8 or images.ndim != 4 or not images.size:
            problems.append(f"{data.name!r}: the images of {split} are {images.dtype} {images.shape}; {EXPECTED}")
        splits[split] = images, labels
    if problems:
        raise DataError(*problems)
    shape = splits["train"][0].shape[1:]
    for split, (images, _) in splits.items():
        if images.shape[1:] != shape:
            problems.append(f"{data.name!r}: images of {split} are {images.shape[1:]}, those of train {shape}")
    problems += normalisation_problems(data, shape[2])
    classes = _classes(made, splits)
    if len(set(classes)) != len(classes) or len(classes) < 2:
        problems.append(f"{data.name!r}: `classes` are {len(classes)} names, {len(set(classes))} of them distinct")
    for split, (images, labels) in splits.items():
        problems += label_problems(labels, len(images), len(classes), f"{data.name!r}: {split}")
    if problems:
        raise DataError(*problems)
    return {split: (images, labels.astype(np.int64)) for split, (images, labels) in splits.items()}, classes


def _classes(made: Mapping[str, Any], splits: Splits) -> list[str]:
    """The names given, or the numbers up to the greatest label."""
    if "classes" in made:
        return [str(name) for name in made["classes"]]
    greatest = max((int(own.max()) for _, own in splits.values() if own.size and own.dtype.kind in "iu"), default=1)
    return [str(label) for label in range(greatest + 1)]
