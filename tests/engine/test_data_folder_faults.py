"""A folder of images that is refused, and a cache that cannot be written: what is said."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_folders import folder_spec, problems, save

from orchestrator.engine.data.image_folder import load_image_folder

pytestmark = pytest.mark.usefixtures("cache")

# The cache


def test_a_full_disk_leaves_nothing_and_says_what_to_do(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        assert problems(root) == [
            f"{cache}: the cache of decoded images cannot be used (No space left on device); free space there, "
            "or set JACKPOT_CACHE to another folder"
        ]
    assert [path for path in cache.rglob("*") if path.suffix != ".lock"] == []
    assert load_image_folder(folder_spec(root)).classes == ("cat", "dog")


def test_a_cache_that_cannot_be_made_is_named(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JACKPOT_CACHE", str(tmp_path / "file" / "below"))
    (problem,) = problems(root)
    assert problem.startswith(f"{tmp_path}/file/below: the cache of decoded images cannot be used (")


# What is refused


def test_an_image_of_another_size_is_named_with_both_sizes(root: Path) -> None:
    save(root / "test" / "cat" / "1.png", np.zeros((6, 6, 3), np.uint8))
    save(root / "train" / "dog" / "2.png", np.zeros((5, 7, 3), np.uint8))
    assert problems(root) == [
        f"2 images are not 6x5 as the first is: {root}/test/cat/1.png is 6x6 (width x height); resize all images "
        "to one size, or give `size`"
    ]


@pytest.mark.parametrize(("kind", "mode"), [(np.uint16, "I;16"), (np.float32, "F")])
def test_images_of_more_than_8_bits_are_named_instead_of_clipped(root: Path, kind: Any, mode: str) -> None:
    for name in ("cat", "dog"):
        save(root / "train" / name / "9.tif", np.full((5, 6), 200, kind))
    assert problems(root) == [
        f"2 images have 16 or 32 bits a channel, which RGB would clip: {root}/train/cat/9.tif ({mode}); "
        f"{root}/train/dog/9.tif ({mode}); scale them to 8 bits"
    ]


def test_unreadable_images_are_counted_and_five_are_named(root: Path) -> None:
    for split, name, i in [("test", "cat", 0), ("test", "cat", 1), *(("train", "dog", i) for i in range(4))]:
        (root / split / name / f"{i}.png").write_bytes(b"no image at all")
    (problem,) = problems(root)
    assert problem.startswith(f"6 image files cannot be read: {root}/test/cat/0.png (cannot identify image file ")
    assert problem.count(".png (") == 5
    assert problem.endswith("; ...; replace or remove them")


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_truncated_image_is_unreadable(root: Path, ending: str) -> None:
    file = root / "train" / "cat" / f"9.{ending}"
    save(file, np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8))
    file.write_bytes(file.read_bytes()[:-30])
    (problem,) = problems(root)
    assert problem.startswith(f"1 image files cannot be read: {file} (")


def test_a_folder_of_nothing_but_broken_images_lists_them(root: Path, cache: Path) -> None:
    for file in root.rglob("*.png"):
        file.write_bytes(b"")
    (problem,) = problems(root)
    assert problem.startswith("12 image files cannot be read: ")
    assert [path for path in cache.rglob("*") if path.suffix != ".lock"] == []


LAYOUT = "expected train/ and test/ in it, and in each a folder a class"


def _remove(path: Path) -> None:
    shutil.rmtree(path)


FAULTS: dict[str, tuple[Any, list[str]]] = {
    "no root": (_remove, ["{root} does not exist; give the folder of the images (" + LAYOUT + ")"]),
    "a file": (
        lambda root: (_remove(root), root.write_text("")),
        ["{root} is a file; give the folder of the images (" + LAYOUT + ")"],
    ),
    "no test": (lambda root: _remove(root / "test"), ["{root} has no test/; " + LAYOUT + "; it holds: train"]),
    "neither": (
        lambda root: (_remove(root / "test"), _remove(root / "train")),
        ["{root} has no train/ and no test/; " + LAYOUT + "; it holds: nothing"],
    ),
    "no classes": (
        lambda root: (_remove(root / "test"), (root / "test").mkdir(), (root / "test" / "a.png").write_text("")),
        ["{root}/test holds no class folders; " + LAYOUT],
    ),
    "one class": (
        lambda root: [_remove(root / split / "dog") for split in ("train", "test")],
        [
            f"{{root}}/{split} holds one class folder, 'cat'; a classification needs two or more"
            for split in ("train", "test")
        ],
    ),
    "other classes": (
        lambda root: os.rename(root / "test" / "dog", root / "test" / "wolf"),
        [
            "{root}: 1 classes of train/ are not in test/: dog; both need the same class folders",
            "{root}: 1 classes of test/ are not in train/: wolf; both need the same class folders",
        ],
    ),
    "an empty class": (
        lambda root: [file.unlink() for file in (root / "test" / "cat").iterdir()],
        [
            "{root}/test: 1 class folders hold no images: cat; add images "
            "(.jpg .jpeg .png .ppm .bmp .pgm .tif .tiff .webp) or remove the folders"
        ],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_structure_is_named(fault: str, root: Path) -> None:
    make, expected = FAULTS[fault]
    make(root)
    messages = [message.replace("{root}", str(root)) for message in expected]
    assert problems(root) == messages


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": (0.5,)}, "mean: expected 3 numbers (red, green, blue), found 1"),
        ({"std": (0.2, 0.2)}, "std: expected 3 numbers (red, green, blue), found 2"),
        (
            {"mean": (125.3, 123.0, 113.9)},
            "mean: expected numbers in 0..1, of pixel values in 0..1; divide by 255 if need be",
        ),
        (
            {"std": (0.0, 0.2, 0.2)},
            "std: expected numbers above 0 and not above 1, of pixel values in 0..1; divide by 255 if need be",
        ),
    ],
)
def test_a_wrong_normalisation_is_refused(options: dict[str, Any], message: str, root: Path) -> None:
    assert problems(root, **options) == [message]


def test_a_class_too_small_to_give_validation_is_named(root: Path) -> None:
    for i in range(1, 4):
        (root / "train" / "dog" / f"{i}.png").unlink()
    assert problems(root) == [
        "validation: 0.1 takes all 1 images of class 'dog', and none is left to train on; use a smaller fraction, or "
        "add images"
    ]
