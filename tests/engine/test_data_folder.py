"""A folder of images: what is decoded, what its fingerprint is of, and the cache that processes share."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_folders import folder_spec, save
from PIL import Image

from orchestrator.engine.data import DataError, image_files, load_data
from orchestrator.engine.data.image_files import EXTENSIONS
from orchestrator.engine.data.image_folder import load_image_folder

pytestmark = pytest.mark.usefixtures("cache")

# What is decoded


def test_images_labels_and_classes_are_those_of_the_files(root: Path) -> None:
    data = load_image_folder(folder_spec(root, validation=0.0))
    assert data.classes == ("cat", "dog")
    assert data.shape == (3, 5, 6)
    for split, part, count in (("train", data.train, 4), ("test", data.test, 2)):
        assert part.labels.tolist() == [0] * count + [1] * count
        files = [root / split / name / f"{i}.png" for name in data.classes for i in range(count)]
        assert np.array_equal(part.images[part.indices], [np.asarray(Image.open(file)) for file in files])


def test_the_same_files_are_found_as_by_torchvision(root: Path) -> None:
    from torchvision.datasets import ImageFolder as Reference
    from torchvision.datasets.folder import IMG_EXTENSIONS

    assert EXTENSIONS == IMG_EXTENSIONS
    pixels = np.full((5, 6, 3), 7, np.uint8)
    save(root / "train" / "cat" / "deep" / "er" / "x.JPEG", pixels)
    (root / "train" / "cat" / "notes.txt").write_text("no image")
    reference = Reference(str(root / "train"))
    data = load_image_folder(folder_spec(root, validation=0.0))
    assert list(data.classes) == reference.classes
    assert len(data.train.labels) == len(reference) == 9
    ours = sorted(image.tobytes() for image in data.train.images)
    assert ours == sorted(np.asarray(image).tobytes() for image, _ in reference)


def test_other_modes_become_rgb_as_torchvision_makes_them_and_are_counted(root: Path) -> None:
    from torchvision.datasets.folder import pil_loader

    pixels = np.random.default_rng(1).integers(0, 256, (5, 6, 4), dtype=np.uint8)
    folder = root / "train" / "cat"
    Image.fromarray(pixels[..., 0]).save(folder / "0.png")
    Image.fromarray(pixels).save(folder / "1.png")
    Image.fromarray(pixels[..., :3]).quantize(8).save(folder / "2.png")
    Image.fromarray(pixels, mode="CMYK").save(folder / "3.jpg")
    (folder / "3.png").unlink()
    data = load_image_folder(folder_spec(root, validation=0.0))
    files = [folder / name for name in ("0.png", "1.png", "2.png", "3.jpg")]
    assert np.array_equal(data.train.images[:4], [np.asarray(pil_loader(file)) for file in files])
    assert data.notes == (f"4 images of {root} were not RGB (1 CMYK, 1 L, 1 P, 1 RGBA) and were converted",)
    assert load_image_folder(folder_spec(root)).notes == data.notes  # now that they are decoded already


def test_a_grey_folder_stays_rgb(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for i, name in enumerate(("one", "two")):
            save(tmp_path / split / name / "0.png", np.full((4, 4), 100 + i, np.uint8))
    assert load_image_folder(folder_spec(tmp_path, validation=0.0)).shape == (3, 4, 4)


def test_validation_is_drawn_class_by_class_and_shares_the_training_array(root: Path) -> None:
    data = load_image_folder(folder_spec(root, validation=0.25))
    assert data.validation.images is data.train.images
    assert sorted(data.validation.labels) == [0, 1]
    assert sorted([*data.train.indices, *data.validation.indices]) == list(range(8))
    assert isinstance(data.train.images, np.memmap)
    assert not data.train.images.flags.writeable


def test_the_normalisation_is_the_specs_or_measured_on_the_training_images(root: Path) -> None:
    data = load_image_folder(folder_spec(root, validation=0.25))
    values = data.train.images / 255
    assert data.mean == pytest.approx(tuple(values.mean(axis=(0, 1, 2))))
    assert data.std == pytest.approx(tuple(values.std(axis=(0, 1, 2))))
    given = load_image_folder(folder_spec(root, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)))
    assert (given.mean, given.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert given.fingerprint != data.fingerprint


def test_images_of_other_sizes_are_resized_and_cut_if_a_size_is_given(root: Path) -> None:
    from torchvision.transforms import CenterCrop, Compose, Resize

    draw = np.random.default_rng(1)
    save(root / "train" / "cat" / "0.png", draw.integers(0, 256, (20, 9, 3), dtype=np.uint8))
    save(root / "test" / "dog" / "1.png", draw.integers(0, 256, (4, 11, 3), dtype=np.uint8))
    data = load_image_folder(folder_spec(root, validation=0.0, size=4))
    assert data.shape == (3, 4, 4)
    reference = Compose([Resize(4), CenterCrop(4)])
    for split, part, count in (("train", data.train, 4), ("test", data.test, 2)):
        files = [root / split / name / f"{i}.png" for name in data.classes for i in range(count)]
        assert np.array_equal(part.images, [np.asarray(reference(Image.open(file))) for file in files])


def test_another_size_is_another_data_set(root: Path) -> None:
    found = {load_image_folder(folder_spec(root, size=size)).fingerprint for size in (None, 4, 5)}
    assert len(found) == 3


# The fingerprint


def test_the_fingerprint_is_of_the_content_not_of_places_and_times(root: Path, tmp_path: Path) -> None:
    before = load_image_folder(folder_spec(root)).fingerprint
    moved = shutil.copytree(root, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    assert load_image_folder(folder_spec(moved)).fingerprint == before


@pytest.mark.parametrize("split", ["train", "test"])
def test_one_changed_pixel_changes_the_fingerprint(root: Path, split: str) -> None:
    before = load_image_folder(folder_spec(root)).fingerprint
    file = root / split / "dog" / "1.png"
    pixels = np.array(Image.open(file))
    pixels[2, 3, 1] ^= 1
    save(file, pixels)
    assert load_image_folder(folder_spec(root)).fingerprint != before


@pytest.mark.parametrize("options", [{"validation": 0.5}, {"validation": 0.25, "split_seed": 5}])
def test_the_split_changes_the_fingerprint(root: Path, options: dict[str, Any]) -> None:
    before = load_image_folder(folder_spec(root, validation=0.25)).fingerprint
    assert load_image_folder(folder_spec(root, **options)).fingerprint != before


# The cache


def test_images_are_decoded_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_image_folder(folder_spec(root))
    monkeypatch.setattr(image_files, "decode", None)
    again = load_image_folder(folder_spec(root))
    assert again.fingerprint == first.fingerprint
    assert np.array_equal(again.train.images, first.train.images)


def test_a_folder_that_changed_is_decoded_anew_by_the_next_process(root: Path, cache: Path) -> None:
    load_image_folder(folder_spec(root))
    (root / "train" / "cat" / "0.png").unlink()
    assert len(load_image_folder(folder_spec(root, validation=0.0)).train.labels) == 7
    assert len(list(cache.glob("*/meta.json"))) == 2


def _damage_pixels(entry: Path) -> None:
    content = bytearray((entry / "train.npy").read_bytes())
    content[-1] ^= 1
    (entry / "train.npy").write_bytes(content)


def _truncate(entry: Path) -> None:
    os.truncate(entry / "test.npy", os.path.getsize(entry / "test.npy") - 1)


def _empty(entry: Path) -> None:
    (entry / "test.npy").write_bytes(b"")


def _lose(entry: Path) -> None:
    (entry / "train.npy").unlink()


def _damage_meta(entry: Path) -> None:
    text = (entry / "meta.json").read_text()
    (entry / "meta.json").write_text(text.replace('"mean": [\n', '"mean": [\n 0,'))


@pytest.mark.parametrize("damage", [_damage_pixels, _truncate, _empty, _lose, _damage_meta])
def test_a_damaged_cache_is_set_aside_with_a_warning_and_made_anew(
    damage: Any, root: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = load_image_folder(folder_spec(root))
    fingerprint, images = before.fingerprint, np.array(before.train.images)
    entry = next(cache.glob("*/meta.json")).parent
    damage(entry)
    after = load_image_folder(folder_spec(root))
    assert after.fingerprint == fingerprint
    assert np.array_equal(after.train.images, images)
    assert "decoded images are damaged" in caplog.text
    assert [path.name for path in cache.glob("*.damaged-*")] == [path.name for path in cache.glob(f"{entry.name}.d*")]
    assert len(list(cache.glob("*.damaged-*"))) == 1


def _load_in_another_process(root: str, results: Any) -> None:
    decoded = []
    plain = image_files.decode
    image_files.decode = lambda *arguments: decoded.append(1) or plain(*arguments)  # type: ignore[func-returns-value]
    data = load_image_folder(folder_spec(Path(root)))
    results.put((data.fingerprint, len(decoded)))


def test_of_several_processes_at_once_one_decodes(root: Path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_load_in_another_process, args=(str(root), results)) for _ in range(4)]
    for process in processes:
        process.start()
    loaded = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert len({fingerprint for fingerprint, _ in loaded}) == 1
    assert sum(decoded for _, decoded in loaded) == 1


def test_the_root_may_be_relative_and_is_read_from_the_current_folder(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    data = load_data(folder_spec(Path("images")))
    assert load_data(folder_spec(Path("images"))) is data
    monkeypatch.chdir(root)
    with pytest.raises(DataError, match="does not exist"):
        load_data(folder_spec(Path("images")))
