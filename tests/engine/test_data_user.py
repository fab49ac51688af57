"""A user's own data set by `module:factory`: how it is called, what it may return, and what is refused."""

from __future__ import annotations

import importlib
import itertools
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.engine.data import DataError, DataSet, load_data
from orchestrator.engine.data.user import EXPECTED, load_user
from orchestrator.engine.source import source_hash
from orchestrator.spec.data import UserData
from orchestrator.spec.models import Spec

_numbers = itertools.count()
GOOD = """
    import numpy as np

    def load(count=12, kind="plain"):
        draw = np.random.default_rng(0)
        images = draw.integers(0, 256, (count, 4, 5, 1), dtype=np.uint8)
        return {
            "train": (images, [i % 2 for i in range(count)]),
            "test": (images[:4], np.arange(4, dtype=np.int32) % 2),
            "classes": ("even", "odd"),
        }
"""
Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module into the current folder and gives its name; a second text under `name` stands for an edit."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    written: list[str] = []

    def module(text: str, name: str | None = None) -> str:
        name = name or f"userdata{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        source_hash.cache_clear()
        importlib.invalidate_caches()
        sys.modules.pop(name, None)
        written.append(name)
        return name

    yield module
    for name in written:
        sys.modules.pop(name, None)
    source_hash.cache_clear()


def _load(name: str, **options: Any) -> DataSet:
    return load_user(UserData(name=f"{name}:load", **options))


def _problems(name: str, **options: Any) -> list[str]:
    with pytest.raises(DataError) as raised:
        _load(name, **options)
    return raised.value.problems


# What is taken


def test_arrays_become_a_data_set_with_validation_drawn_from_train(write: Write) -> None:
    data = _load(write(GOOD), validation=0.2)
    images = np.random.default_rng(0).integers(0, 256, (12, 4, 5, 1), dtype=np.uint8)
    assert (data.classes, data.shape) == (("even", "odd"), (1, 4, 5))
    assert np.array_equal(data.train.images, images)
    assert np.array_equal(data.train.labels, data.train.indices % 2)
    assert sorted(data.validation.labels) == [0, 1]
    assert data.test.labels.tolist() == [0, 1, 0, 1]
    assert data.mean == pytest.approx(((images / 255).mean(),))


def test_options_go_to_the_factory_and_into_the_fingerprint(write: Write) -> None:
    name = write(GOOD)
    assert len(_load(name, count=20, validation=0.0).train.labels) == 20
    spec = UserData(name=f"{name}:load", count=20)
    assert load_data(spec) is load_data(UserData(name=f"{name}:load", count=20))
    assert load_data(spec) is not load_data(UserData(name=f"{name}:load", count=18))
    assert load_data(spec).fingerprint != load_data(UserData(name=f"{name}:load", count=18)).fingerprint


def test_a_spec_names_it_by_text_alone(write: Write) -> None:
    name = write(GOOD)
    made = Spec.model_validate(
        {"name": "x", "data": f"{name}:load", "model": "convnet", "recipe": {"epochs": 1}, "methods": ["dense"]}
    )
    assert isinstance(made.data, UserData)
    assert load_data(made.data).classes == ("even", "odd")


def test_validation_images_of_its_own_are_taken(write: Write) -> None:
    name = write(GOOD.replace('"classes"', '"validation": (images[::-1], [1, 0] * 6), "classes"'))
    data = _load(name)
    assert len(data.train.labels) == 12
    assert np.array_equal(data.validation.images, data.train.images[::-1])
    assert data.validation.labels.tolist() == [1, 0] * 6
    assert _problems(name, validation=0.1) == [
        f"'{name}:load' gives validation images of its own; remove `validation` from the spec"
    ]


def test_tensors_and_classes_without_names_are_taken(write: Write) -> None:
    name = write(
        """
        import torch

        def load():
            images = torch.zeros(6, 4, 4, 3, dtype=torch.uint8)
            return {"train": (images, torch.arange(6) % 3), "test": (images, torch.arange(6) % 3)}
        """
    )
    data = _load(name, validation=0.0)
    assert data.classes == ("0", "1", "2")
    assert isinstance(data.train.images, np.ndarray)


def test_unseeded_draws_of_a_factory_are_the_same_in_every_process(write: Write) -> None:
    name = write(
        """
        import random
        import numpy as np

        def load():
            images = np.random.randint(0, 256, (8, 4, 4, 3)).astype(np.uint8)
            labels = [0, 1] * 4
            random.shuffle(labels)
            return {"train": (images, labels), "test": (images, labels)}
        """
    )
    first = _load(name)
    np.random.seed(3)
    assert _load(name).fingerprint == first.fingerprint


def test_an_edit_of_the_source_changes_the_fingerprint_though_no_image_does(write: Write) -> None:
    name = write(GOOD)
    before = _load(name).fingerprint
    assert _load(name).fingerprint == before
    write(GOOD + "    # a comment\n", name)
    assert _load(name).fingerprint != before


# What is refused

RETURNS: dict[str, tuple[str, list[str]]] = {
    "a list": ("return [1]", ["NAME returned a list; " + EXPECTED]),
    "nothing": ("return None", ["NAME returned nothing; " + EXPECTED]),
    "no test": ('return {"train": (images, labels)}', ["NAME returned a mapping with train; " + EXPECTED]),
    "another key": (
        "return {**good, 'val': 1}",
        ["NAME returned 'val', which is not known; " + EXPECTED],
    ),
    "floats": (
        "return {**good, 'train': (images / 255, labels)}",
        ["NAME: the images of train are float64 (6, 4, 4, 3); " + EXPECTED],
    ),
    "no channels": (
        "return {**good, 'test': (images[..., 0], labels)}",
        ["NAME: the images of test are uint8 (6, 4, 4); " + EXPECTED],
    ),
    "no images": (
        "return {**good, 'test': (images[:0], labels[:0])}",
        ["NAME: the images of test are uint8 (0, 4, 4, 3); " + EXPECTED],
    ),
    "no pair": ("return {**good, 'test': images[0, 0]}", ["NAME: test is no pair of images and labels; " + EXPECTED]),
    "too few labels": (
        "return {**good, 'test': (images, labels[:5])}",
        ["NAME: test holds 6 images and labels of shape (5,); every image needs one label"],
    ),
    "a label out of range": (
        "return {**good, 'classes': ['a', 'b'], 'test': (images, labels + 1)}",
        ["NAME: test: 3 labels are not in 0..1 (the first is 2, of image 1); there are 2 classes"],
    ),
    "one name twice": (
        "return {**good, 'classes': ['a', 'a']}",
        ["NAME: `classes` are 2 names, 1 of them distinct"],
    ),
    "another size": (
        "return {**good, 'test': (images[:, :3], labels)}",
        ["NAME: images of test are (3, 4, 3), those of train (4, 4, 3)"],
    ),
    "an empty class": (
        "return {**good, 'classes': ['a', 'b', 'c']}",
        [
            "1 classes have no training images: c; every class needs some",
            "1 classes have no test images: c; every class needs some",
        ],
    ),
}


@pytest.mark.parametrize("case", RETURNS)
def test_what_the_factory_may_not_return(case: str, write: Write) -> None:
    statement, expected = RETURNS[case]
    name = write(
        f"""
        import numpy as np

        def load():
            images, labels = np.zeros((6, 4, 4, 3), np.uint8), np.arange(6) % 2
            good = {{"train": (images, labels), "test": (images, labels)}}
            {statement}
        """
    )
    assert _problems(name) == [message.replace("NAME", f"'{name}:load'") for message in expected]


def test_a_factory_that_raises_is_named_with_its_line(write: Write, tmp_path: Path) -> None:
    name = write("def load():\n    raise RuntimeError('no disk')\n")
    assert _problems(name) == [f"'{name}:load' raised RuntimeError: no disk ({tmp_path}/{name}.py:2)"]


def test_a_missing_module_function_or_option_is_named(write: Write) -> None:
    (problem,) = _problems("not_there")
    assert problem.startswith("'not_there:load': no module 'not_there' is installed or in the current folder")
    name = write(GOOD)
    with pytest.raises(DataError, match=f"module '{name}' .* has no 'laod'; it has: load"):
        load_user(UserData(name=f"{name}:laod"))
    assert _problems(name, cuont=3) == ["cuont: unknown option; did you mean 'count'? known options: count, kind"]
    needy = write("def load(root):\n    return {}\n")
    assert _problems(needy) == [f"option 'root' is missing; {needy}:load needs it"]


def test_a_normalisation_of_other_channels_is_refused(write: Write) -> None:
    assert _problems(write(GOOD), mean=(0.5, 0.5, 0.5)) == ["mean: expected 1 number, found 3"]
