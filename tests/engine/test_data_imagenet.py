"""Tiny ImageNet and ImageNet in their published layouts: pixels, labels, names, and labels that do not match."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_folders import save
from PIL import Image

from orchestrator.engine.data import DataError
from orchestrator.engine.data.imagenet import TINY, load_imagenet, load_tiny_imagenet
from orchestrator.spec.data import ImageNet, TinyImageNet

pytestmark = pytest.mark.usefixtures("cache")

IDS = ["n03", "n01", "n02"]
"""As wnids.txt has them: not sorted."""


# Tiny ImageNet


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Three classes with three training images each and six for validation, 8x8, of which one is grey."""
    draw = np.random.default_rng(0)
    root = tmp_path / "tiny"
    for name in IDS:
        for i in range(3):
            save(root / "train" / name / "images" / f"{name}_{i}.JPEG", draw.integers(0, 256, (8, 8, 3), np.uint8))
        (root / "train" / name / f"{name}_boxes.txt").write_text("n01_0.JPEG\t0\t0\t7\t7\n")
    lines = []
    for i in range(6):
        pixels = draw.integers(0, 256, (8, 8) if i == 4 else (8, 8, 3), np.uint8)
        save(root / "val" / "images" / f"val_{i}.JPEG", pixels)
        lines.append(f"val_{i}.JPEG\t{IDS[i % 3]}\t0\t0\t7\t7\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    (root / "wnids.txt").write_text("\n".join(IDS) + "\n")
    (root / "words.txt").write_text("n01\tcrane\nn02\tgoldfish, Carassius auratus\nn03\tcrane\nn99\tunused\n")
    return root


def _tiny(root: Path, **options: Any) -> TinyImageNet:
    return TinyImageNet(name="tiny_imagenet", root=str(root), **options)


def _rgb(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_tiny_imagenet_is_read_by_sorted_ids_with_val_as_test(tiny: Path) -> None:
    data = load_tiny_imagenet(_tiny(tiny, validation=0.0))
    assert data.classes == ("crane (n01)", "goldfish", "crane (n03)")
    assert data.shape == (3, 8, 8)
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert np.array_equal(data.train.images[4], _rgb(tiny / "train/n02/images/n02_1.JPEG"))
    # n01 is the second in wnids.txt, so it has the second and the fifth image of val/
    assert data.test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    expected = [_rgb(tiny / f"val/images/val_{i}.JPEG") for i in (1, 4, 2, 5, 0, 3)]
    assert np.array_equal(data.test.images, expected)
    assert data.notes == (f"1 images of {tiny} were not RGB (1 L) and were converted",)


def test_without_words_the_classes_are_called_by_their_ids(tiny: Path) -> None:
    (tiny / "words.txt").unlink()
    assert load_tiny_imagenet(_tiny(tiny)).classes == ("n01", "n02", "n03")


def _add(path: str, text: str) -> Callable[[Path], Any]:
    return lambda root: (root / path).write_text((root / path).read_text() + text)


TINY_FAULTS: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "an unknown class in val": (
        _add("val/val_annotations.txt", "val_9.JPEG\tn77\t0\t0\t1\t1\n"),
        [
            "{root}/val/val_annotations.txt: 1 classes are not in wnids.txt: n77",
            "{root}/val/val_annotations.txt: 1 images are not in val/images: val_9.JPEG",
        ],
    ),
    "an image without a label": (
        lambda root: save(root / "val/images/x.JPEG", np.zeros((8, 8, 3), np.uint8)),
        ["{root}/val/images: 1 images have no label in val_annotations.txt: x.JPEG"],
    ),
    "a label twice": (
        _add("val/val_annotations.txt", "val_1.JPEG\tn03\t0\t0\t1\t1\n"),
        ["{root}/val/val_annotations.txt: 1 images stand there twice: val_1.JPEG"],
    ),
    "a torn annotation": (
        _add("val/val_annotations.txt", "val_6.JP"),
        ["{root}/val/val_annotations.txt: line 7 names no class; expected the image, a tab and its class on each line"],
    ),
    "a class that has no folder": (
        _add("wnids.txt", "n04\n"),
        [
            "{root}/train: 1 class folders hold no images: n04; add images (.jpg .jpeg .png .ppm .bmp .pgm .tif "
            ".tiff .webp) or remove the folders",
            "{root}/val/val_annotations.txt: 1 classes have no image: n04",
        ],
    ),
    "a folder that is no class": (
        lambda root: (root / "train/n55").mkdir(),
        ["{root}/train holds 1 classes that wnids.txt does not name: n55"],
    ),
    "an id twice": (_add("wnids.txt", "n01\n"), ["{root}/wnids.txt names n01 twice; write each id once"]),
    "one id": (
        lambda root: (root / "wnids.txt").write_text("n01\n"),
        ["{root}/wnids.txt names 1 classes; a classification needs two or more"],
    ),
    "no annotations": (
        lambda root: (root / "val/val_annotations.txt").unlink(),
        ["{root} has no val/val_annotations.txt; " + TINY + "; it holds: train, val, wnids.txt, words.txt"],
    ),
}


@pytest.mark.parametrize("fault", TINY_FAULTS)
def test_what_does_not_match_is_named(fault: str, tiny: Path) -> None:
    make, expected = TINY_FAULTS[fault]
    make(tiny)
    with pytest.raises(DataError) as raised:
        load_tiny_imagenet(_tiny(tiny))
    assert raised.value.problems == [message.replace("{root}", str(tiny)) for message in expected]


def test_a_torn_image_is_named(tiny: Path) -> None:
    file = tiny / "train/n02/images/n02_1.JPEG"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(DataError, match=f"1 image files cannot be read: {file}"):
        load_tiny_imagenet(_tiny(tiny))


# ImageNet


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    """Two classes with three training images each and two for validation, all of other sizes."""
    draw = np.random.default_rng(1)
    root = tmp_path / "imagenet"
    for split, count in (("train", 3), ("val", 2)):
        for k, name in enumerate(("n02", "n01")):
            for i in range(count):
                height, width = 20 + 7 * i + k, 45 - 11 * i - k
                save(root / split / name / f"{name}_{i}.JPEG", draw.integers(0, 256, (height, width, 3), np.uint8))
    (root / "LOC_synset_mapping.txt").write_text("n01 tench, Tinca tinca\nn02 great white shark, man-eater\n")
    return root


def _imagenet(root: Path, **options: Any) -> ImageNet:
    return ImageNet(name="imagenet", root=str(root), **{"size": 16, "resize": 18, "validation": 0.0, **options})


def test_imagenet_is_resized_and_cut_from_the_centre_as_torchvision_does(imagenet: Path) -> None:
    from torchvision.transforms import CenterCrop, Compose, Resize

    data = load_imagenet(_imagenet(imagenet))
    assert data.classes == ("tench", "great white shark")
    assert data.shape == (3, 16, 16)
    assert (data.mean, data.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    reference = Compose([Resize(18), CenterCrop(16)])
    for split, part, count in (("train", data.train, 3), ("val", data.test, 2)):
        files = [imagenet / split / name / f"{name}_{i}.JPEG" for name in ("n01", "n02") for i in range(count)]
        expected = [np.asarray(reference(Image.open(file))) for file in files]
        assert np.array_equal(part.images[part.indices], expected)
        assert part.labels.tolist() == [0] * count + [1] * count


def test_imagenet_can_be_normalised_by_what_its_images_measure(imagenet: Path) -> None:
    data = load_imagenet(_imagenet(imagenet, mean=None, std=None))
    values = data.train.images[np.arange(6)] / 255
    assert data.mean == pytest.approx(tuple(values.mean((0, 1, 2))))
    assert data.std == pytest.approx(tuple(values.std((0, 1, 2))))


def test_a_class_that_val_has_not_is_named(imagenet: Path) -> None:
    save(imagenet / "train/n09/x.JPEG", np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(DataError) as raised:
        load_imagenet(_imagenet(imagenet))
    assert raised.value.problems == [
        f"{imagenet}: 1 classes of train/ are not in val/: n09; both need the same class folders"
    ]


def test_broken_deep_and_converted_images_are_found_before_anything_trains(imagenet: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (30, 30), np.uint8)
    save(imagenet / "train/n01/grey.JPEG", grey)
    Image.fromarray(np.dstack([grey] * 4), mode="CMYK").save(imagenet / "val/n02/cmyk.JPEG")
    noted = f"2 images of {imagenet} were not RGB (1 CMYK, 1 L) and were converted"
    assert load_imagenet(_imagenet(imagenet)).notes == (noted,)
    (imagenet / "val/n01/empty.JPEG").write_bytes(b"")
    save(imagenet / "val/n01/deep.png", np.full((30, 30), 40000, np.uint16))
    with pytest.raises(DataError) as raised:
        load_imagenet(_imagenet(imagenet))
    broken, deep = raised.value.problems
    assert broken.startswith(f"1 image files cannot be read: {imagenet}/val/n01/empty.JPEG (")
    assert deep == (
        "1 images have 16 or 32 bits a channel, which RGB would clip: "
        f"{imagenet}/val/n01/deep.png (I;16); scale them to 8 bits"
    )


def test_the_fingerprint_is_of_the_files_and_how_they_are_cut(imagenet: Path) -> None:
    before = load_imagenet(_imagenet(imagenet)).fingerprint
    assert load_imagenet(_imagenet(imagenet)).fingerprint == before
    assert load_imagenet(_imagenet(imagenet, resize=20)).fingerprint != before
    file = imagenet / "val/n01/n01_0.JPEG"
    content = bytearray(file.read_bytes())
    content[-1:] = b"\xd9\x00"  # a byte after the image's end: no pixel changes, the file does
    file.write_bytes(content)
    assert load_imagenet(_imagenet(imagenet)).fingerprint != before
