"""A folder of images: what is decoded, what is refused, and the cache that processes share."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orchestrator.engine.data import DataError, check_data, load_data
from orchestrator.engine.data import cache as cache_module
from orchestrator.engine.data.image_folder import EXTENSIONS, load_image_folder
from orchestrator.spec.models import ImageFolder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JACKPOT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes with four training and two test images each, 6 wide and 5 high."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 2)):
        for name in ("cat", "dog"):
            for i in range(count):
                pixels = draw.integers(0, 256, (5, 6, 3), dtype=np.uint8)
                _save(tmp_path / "images" / split / name / f"{i}.png", pixels)
    return tmp_path / "images"


def _save(path: Path, pixels: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def _spec(root: Path, **options: Any) -> ImageFolder:
    return ImageFolder(name="image_folder", root=str(root), **options)


def _problems(root: Path, **options: Any) -> list[str]:
    with pytest.raises(DataError) as raised:
        load_image_folder(_spec(root, **options))
    return raised.value.problems


# What is decoded


def test_images_labels_and_classes_are_those_of_the_files(root: Path) -> None:
    data = load_image_folder(_spec(root, validation=0.0))
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
    _save(root / "train" / "cat" / "deep" / "er" / "x.JPEG", pixels)
    (root / "train" / "cat" / "notes.txt").write_text("no image")
    reference = Reference(str(root / "train"))
    data = load_image_folder(_spec(root, validation=0.0))
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
    data = load_image_folder(_spec(root, validation=0.0))
    files = [folder / name for name in ("0.png", "1.png", "2.png", "3.jpg")]
    assert np.array_equal(data.train.images[:4], [np.asarray(pil_loader(file)) for file in files])
    meta = cache_module.read_sealed(next(cache_module.cache_folder().glob("*/meta.json")))
    assert meta["converted"] == {"CMYK": 1, "L": 1, "P": 1, "RGBA": 1}


def test_a_grey_folder_stays_rgb(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for i in range(2):
            _save(tmp_path / split / "one" / f"{i}.png", np.full((4, 4), 100 + i, np.uint8))
    assert load_image_folder(_spec(tmp_path, validation=0.0)).shape == (3, 4, 4)


def test_validation_is_drawn_class_by_class_and_shares_the_training_array(root: Path) -> None:
    data = load_image_folder(_spec(root, validation=0.25))
    assert data.validation.images is data.train.images
    assert sorted(data.validation.labels) == [0, 1]
    assert sorted([*data.train.indices, *data.validation.indices]) == list(range(8))
    assert isinstance(data.train.images, np.memmap)
    assert not data.train.images.flags.writeable


def test_the_normalisation_is_the_specs_or_measured_on_the_training_images(root: Path) -> None:
    data = load_image_folder(_spec(root, validation=0.25))
    values = data.train.images / 255
    assert data.mean == pytest.approx(tuple(values.mean(axis=(0, 1, 2))))
    assert data.std == pytest.approx(tuple(values.std(axis=(0, 1, 2))))
    given = load_image_folder(_spec(root, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)))
    assert (given.mean, given.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert given.fingerprint != data.fingerprint


# The fingerprint


def test_the_fingerprint_is_of_the_content_not_of_places_and_times(root: Path, tmp_path: Path) -> None:
    before = load_image_folder(_spec(root)).fingerprint
    moved = shutil.copytree(root, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    assert load_image_folder(_spec(moved)).fingerprint == before


@pytest.mark.parametrize("split", ["train", "test"])
def test_one_changed_pixel_changes_the_fingerprint(root: Path, split: str) -> None:
    before = load_image_folder(_spec(root)).fingerprint
    file = root / split / "dog" / "1.png"
    pixels = np.array(Image.open(file))
    pixels[2, 3, 1] ^= 1
    _save(file, pixels)
    assert load_image_folder(_spec(root)).fingerprint != before


@pytest.mark.parametrize("options", [{"validation": 0.5}, {"validation": 0.25, "split_seed": 5}])
def test_the_split_changes_the_fingerprint(root: Path, options: dict[str, Any]) -> None:
    before = load_image_folder(_spec(root, validation=0.25)).fingerprint
    assert load_image_folder(_spec(root, **options)).fingerprint != before


# The cache


def test_images_are_decoded_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_image_folder(_spec(root))
    monkeypatch.setattr(cache_module, "decode", None)
    again = load_image_folder(_spec(root))
    assert again.fingerprint == first.fingerprint
    assert np.array_equal(again.train.images, first.train.images)


def test_a_folder_that_changed_is_decoded_anew_by_the_next_process(root: Path, cache: Path) -> None:
    load_image_folder(_spec(root))
    (root / "train" / "cat" / "0.png").unlink()
    assert len(load_image_folder(_spec(root, validation=0.0)).train.labels) == 7
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
    before = load_image_folder(_spec(root))
    fingerprint, images = before.fingerprint, np.array(before.train.images)
    entry = next(cache.glob("*/meta.json")).parent
    damage(entry)
    after = load_image_folder(_spec(root))
    assert after.fingerprint == fingerprint
    assert np.array_equal(after.train.images, images)
    assert "decoded images are damaged" in caplog.text
    assert [path.name for path in cache.glob("*.damaged-*")] == [path.name for path in cache.glob(f"{entry.name}.d*")]
    assert len(list(cache.glob("*.damaged-*"))) == 1


def _load_in_another_process(root: str, results: Any) -> None:
    decoded = []
    plain = cache_module.decode
    cache_module.decode = lambda *arguments: decoded.append(1) or plain(*arguments)  # type: ignore[func-returns-value]
    data = load_image_folder(_spec(Path(root)))
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


def test_a_full_disk_leaves_nothing_and_says_what_to_do(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        assert _problems(root) == [
            f"{cache}: the cache of decoded images cannot be used (No space left on device); free space there, "
            "or set JACKPOT_CACHE to another folder"
        ]
    assert [path for path in cache.rglob("*") if path.suffix != ".lock"] == []
    assert load_image_folder(_spec(root)).classes == ("cat", "dog")


def test_a_cache_that_cannot_be_made_is_named(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JACKPOT_CACHE", str(tmp_path / "file" / "below"))
    (problem,) = _problems(root)
    assert problem.startswith(f"{tmp_path}/file/below: the cache of decoded images cannot be used (")


def test_the_root_may_be_relative_and_is_read_from_the_current_folder(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    data = load_data(_spec(Path("images")))
    assert load_data(_spec(Path("images"))) is data
    monkeypatch.chdir(root)
    with pytest.raises(DataError, match="does not exist"):
        load_data(_spec(Path("images")))


# What is refused


def test_an_image_of_another_size_is_named_with_both_sizes(root: Path) -> None:
    _save(root / "test" / "cat" / "1.png", np.zeros((6, 6, 3), np.uint8))
    _save(root / "train" / "dog" / "2.png", np.zeros((5, 7, 3), np.uint8))
    assert _problems(root) == [
        f"2 images are not 6x5 as the first is: {root}/test/cat/1.png is 6x6 (width x height); resize all images "
        "to one size"
    ]


def test_unreadable_images_are_counted_and_five_are_named(root: Path) -> None:
    for split, name, i in [("test", "cat", 0), ("test", "cat", 1), *(("train", "dog", i) for i in range(4))]:
        (root / split / name / f"{i}.png").write_bytes(b"no image at all")
    (problem,) = _problems(root)
    assert problem.startswith(f"6 image files cannot be read: {root}/test/cat/0.png (cannot identify image file ")
    assert problem.count(".png (") == 5
    assert problem.endswith("; ...; replace or remove them")


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_truncated_image_is_unreadable(root: Path, ending: str) -> None:
    file = root / "train" / "cat" / f"9.{ending}"
    _save(file, np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8))
    file.write_bytes(file.read_bytes()[:-30])
    (problem,) = _problems(root)
    assert problem.startswith(f"1 image files cannot be read: {file} (")


def test_a_folder_of_nothing_but_broken_images_lists_them(root: Path, cache: Path) -> None:
    for file in root.rglob("*.png"):
        file.write_bytes(b"")
    (problem,) = _problems(root)
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
def test_a_wrong_structure_is_named_by_checking_and_by_loading(fault: str, root: Path) -> None:
    make, expected = FAULTS[fault]
    make(root)
    messages = [message.replace("{root}", str(root)) for message in expected]
    assert check_data(_spec(root)) == messages
    assert _problems(root) == messages


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
    assert check_data(_spec(root, **options)) == [message]
    assert _problems(root, **options) == [message]


def test_a_good_folder_has_no_problems_and_checking_opens_no_image(root: Path, cache: Path) -> None:
    for file in root.rglob("*.png"):
        file.write_bytes(b"")
    assert check_data(_spec(root)) == []
    assert not cache.exists()


def test_a_class_too_small_to_give_validation_is_named(root: Path) -> None:
    for i in range(1, 4):
        (root / "train" / "dog" / f"{i}.png").unlink()
    assert _problems(root) == [
        "validation: 0.1 takes all 1 images of class 'dog', and none is left to train on; use a smaller fraction, or "
        "add images"
    ]
