"""CIFAR in its published layout: pixels, labels and names, what is refused, and what a download needs."""

from __future__ import annotations

import os
import pickle
import tarfile
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from torchvision.datasets import CIFAR10 as REFERENCE

from orchestrator.engine.data import DataError, cifar
from orchestrator.engine.data.cifar import load_cifar
from orchestrator.spec.data import Cifar10, Cifar100

pytestmark = pytest.mark.usefixtures("cache")

NAMES = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "lorry"]
Batches = dict[str, dict[str, Any]]


def _batches(count: int = 20) -> Batches:
    """Five training batches and a test batch of random images; labels take turns."""
    draw = np.random.default_rng(0)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    labels = [i % 10 for i in range(count)]
    return {name: {"data": draw.integers(0, 256, (count, 3072), dtype=np.uint8), "labels": labels} for name in names}


def _write(folder: Path, content: dict[str, Any], protocol: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in content.items():
        (folder / name).write_bytes(pickle.dumps(value, protocol=protocol))
    return folder


@pytest.fixture
def batches() -> Batches:
    return _batches()


@pytest.fixture
def folder(tmp_path: Path, batches: Batches) -> Path:
    return _write(tmp_path / "data" / "cifar-10-batches-py", {**batches, "batches.meta": {"label_names": NAMES}})


def _spec(folder: Path, **options: Any) -> Cifar10:
    return Cifar10(name="cifar10", root=str(folder.parent), **{"download": False, **options})


def _problems(folder: Path, **options: Any) -> list[str]:
    with pytest.raises(DataError) as raised:
        load_cifar(_spec(folder, **options))
    return raised.value.problems


# What is read


def test_images_labels_and_names_are_those_of_the_batches_in_order(folder: Path, batches: Batches) -> None:
    data = load_cifar(_spec(folder, validation=0.0))
    assert (data.name, data.classes, data.shape) == ("cifar10", tuple(NAMES), (3, 32, 32))
    rows = np.concatenate([batches[f"data_batch_{i}"]["data"] for i in range(1, 6)])
    # row 23 is the fourth of the second batch: 1024 red values, row by row, then green, then blue
    assert data.train.images[23, 5, 7].tolist() == [
        batches["data_batch_2"]["data"][3, c * 1024 + 167] for c in range(3)
    ]
    assert np.array_equal(data.train.images, rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    assert np.array_equal(data.test.images[0, :, :, 2].ravel(), batches["test_batch"]["data"][0, 2048:])
    assert data.train.labels.tolist() == [i % 10 for i in range(20)] * 5
    assert isinstance(data.train.images, np.memmap)
    values = rows.reshape(-1, 3, 1024) / 255
    assert data.mean == pytest.approx(tuple(values.mean((0, 2))))
    assert data.std == pytest.approx(tuple(values.std((0, 2))))


def test_the_same_images_as_torchvision_reads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    data = load_cifar(_spec(folder, validation=0.0))
    for part, train in ((data.train, True), (data.test, False)):
        reference = REFERENCE(str(folder.parent), train=train)
        assert np.array_equal(part.images, reference.data)
        assert part.labels.tolist() == reference.targets


def test_cifar100_has_the_fine_labels(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    names = [f"thing {i}" for i in range(100)]
    content: dict[str, Any] = {"meta": {"fine_label_names": names, "coarse_label_names": ["a"] * 20}}
    for split in ("train", "test"):
        labels = list(range(99, -1, -1)) * 2
        values = draw.integers(0, 256, (200, 3072), dtype=np.uint8)
        content[split] = {"data": values, "fine_labels": labels, "coarse_labels": [0] * 200}
    _write(tmp_path / "cifar-100-python", content)
    data = load_cifar(Cifar100(name="cifar100", root=str(tmp_path), validation=0.0))
    assert data.classes == tuple(names)
    assert data.train.labels.tolist() == list(range(99, -1, -1)) * 2


def test_a_file_of_another_size_than_published_is_noted(folder: Path) -> None:
    assert load_cifar(_spec(folder)).notes == (
        f"{folder} holds 100 training and 20 test images; the published set has 50,000 and 10,000",
    )


def test_the_files_are_read_once_and_a_changed_one_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_cifar(_spec(folder))
    with monkeypatch.context() as patch:
        patch.setattr(cifar, "read", None)
        assert load_cifar(_spec(folder)).fingerprint == first.fingerprint
    changed = _batches()
    changed["test_batch"]["data"][3, 5] ^= 1
    _write(folder, {"test_batch": changed["test_batch"]})
    assert load_cifar(_spec(folder)).fingerprint != first.fingerprint


@pytest.mark.parametrize("protocol", [2, 4])
def test_what_python_3_has_written_is_read_too(folder: Path, batches: Batches, protocol: int) -> None:
    before = load_cifar(_spec(folder)).fingerprint
    _write(folder, batches, protocol)
    assert load_cifar(_spec(folder)).fingerprint == before


# What is refused


class _Code:
    def __reduce__(self) -> Any:
        return os.mkdir, ("made-by-a-pickle",)


def test_a_file_that_would_run_code_is_refused_before_it_does(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _write(folder, {"data_batch_3": {"data": _Code(), "labels": []}})
    (problem,) = _problems(folder)
    assert problem == (
        f"{folder}/data_batch_3 holds posix.mkdir, which is neither plain values nor an array of numbers: it is "
        "no file of CIFAR, and was not run; unpack the published archive again"
    )
    assert not (tmp_path / "made-by-a-pickle").exists()


def _edit(name: str, **change: Any) -> Any:
    return lambda folder, batches: _write(folder, {name: {**batches[name], **change}})


FAULTS: dict[str, tuple[Any, str]] = {
    "a torn file": (
        lambda folder, _: os.truncate(folder / "data_batch_2", 5000),
        "{folder}/data_batch_2 cannot be read (",
    ),
    "an empty file": (
        lambda folder, _: os.truncate(folder / "test_batch", 0),
        "{folder}/test_batch cannot be read (EOFError: ",
    ),
    "a label too large": (
        _edit("data_batch_1", labels=[0, 1, 2, 3, 10, *range(10), 5, 6, 7, 8, -1]),
        "{folder}/data_batch_1: 2 labels are not in 0..9 (the first is 10, of image 4); there are 10 classes",
    ),
    "too few labels": (
        _edit("test_batch", labels=[1, 2]),
        "{folder}/test_batch holds 20 images and labels of shape (2,); every image needs one label",
    ),
    "labels that are no numbers": (
        _edit("test_batch", labels=["cat"] * 20),
        "{folder}/test_batch: labels are <U3; expected whole numbers, 0 to 9",
    ),
    "images of another size": (
        _edit("test_batch", data=np.zeros((20, 3000), np.uint8)),
        "{folder}/test_batch: the images are uint8 (20, 3000); expected uint8 (N, 3072), a row an image",
    ),
    "no labels at all": (
        lambda folder, batches: _write(folder, {"test_batch": {"data": batches["test_batch"]["data"]}}),
        "{folder}/test_batch holds no 'labels'; unpack the published archive again",
    ),
    "too few names": (
        lambda folder, _: _write(folder, {"batches.meta": {"label_names": NAMES[:9]}}),
        "{folder}/batches.meta: label_names are not the 10 names of the classes",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_file_is_named(fault: str, folder: Path, batches: Batches) -> None:
    make, expected = FAULTS[fault]
    make(folder, batches)
    (problem,) = _problems(folder)
    assert problem.startswith(expected.replace("{folder}", str(folder)))


def test_an_empty_class_is_named(folder: Path) -> None:
    without = _batches()
    for batch in without.values():
        batch["labels"] = [i % 8 for i in range(20)]
    _write(folder, without)
    assert _problems(folder) == [
        f"2 classes have no {split} images: ship, lorry; every class needs some" for split in ("training", "test")
    ]


def test_a_file_as_large_as_the_published_one_must_have_its_checksum(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar, "SPLITS", {"train": 100, "test": 20})
    problems = _problems(folder)
    assert len(problems) == 6
    assert problems[0].startswith(
        f"{folder}/data_batch_1 has as many images as the published file but not its checksum"
    )
    monkeypatch.setattr(cifar, "_checksums", lambda _: {path.name: _md5(path) for path in folder.iterdir()})
    assert load_cifar(_spec(folder)).notes == ()


def _md5(path: Path) -> str:
    from torchvision.datasets.utils import calculate_md5

    return calculate_md5(str(path))


# Where it is


def test_without_download_it_is_said_what_to_put_where(tmp_path: Path) -> None:
    assert _problems(tmp_path / "cifar-10-batches-py") == [
        f"{tmp_path}/cifar-10-batches-py does not exist, and the spec says `download: false`; put the folder "
        "cifar-10-batches-py of the published archive (cifar-10-python.tar.gz, unpacked) into "
        f"{tmp_path}: it holds batches.meta, data_batch_1, data_batch_2, data_batch_3, data_batch_4, data_batch_5, "
        "test_batch"
    ]


def test_a_missing_batch_is_named(folder: Path) -> None:
    (folder / "data_batch_4").unlink()
    assert _problems(folder, download=True) == [
        f"{folder} has no data_batch_4; unpack the published archive there again, or remove the folder and let "
        "`download: true` fetch it"
    ]


def _unreachable(*_: Any, **__: Any) -> None:
    raise OSError("Name or service not known")


def test_a_download_that_fails_says_so_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Mock(side_effect=OSError("Name or service not known"))
    monkeypatch.setattr("torchvision.datasets.utils.download_url", asked)
    (problem,) = _problems(tmp_path / "new" / "cifar-10-batches-py", download=True)
    assert problem.startswith(
        f"{tmp_path}/new/cifar-10-batches-py does not exist, and the download failed (Name or service not known); put "
    )
    asked.assert_called_once()  # not again and again
    assert not (tmp_path / "new").exists()


@pytest.fixture
def archive(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive of the folder in the place it is downloaded to, with torchvision's checksum of it."""
    path = folder.parent / REFERENCE.filename
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, folder.name)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    monkeypatch.setattr(REFERENCE, "tgz_md5", _md5(path))
    return path


def test_an_archive_that_lies_there_is_unpacked(folder: Path, archive: Path, batches: Batches) -> None:
    data = load_cifar(_spec(folder, download=True, validation=0.0))
    assert np.array_equal(data.test.images[4, 0, 0], batches["test_batch"]["data"][4, ::1024])
    assert not [path for path in folder.parent.iterdir() if path.is_dir() and path != folder]


def test_a_damaged_archive_is_not_unpacked(folder: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.write_bytes(archive.read_bytes()[:-1] + b"?")
    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", _unreachable)  # it would be fetched again
    (problem,) = _problems(folder, download=True)
    assert "the download failed" in problem
    assert not folder.exists()


def test_the_fingerprint_is_of_the_content(folder: Path, tmp_path: Path, batches: Batches) -> None:
    before = load_cifar(_spec(folder))
    other = _write(tmp_path / "other" / folder.name, {**batches, "batches.meta": {"label_names": NAMES}})
    assert load_cifar(_spec(other)).fingerprint == before.fingerprint
    assert load_cifar(_spec(folder, split_seed=1)).fingerprint != before.fingerprint
