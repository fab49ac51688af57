"""Data in an object store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orchestrator.engine.data import DataError, load_data
from orchestrator.engine.data.copies import local_copy
from orchestrator.engine.remote import Remote
from orchestrator.spec.data import ImageFolder

pytestmark = pytest.mark.slow


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Twelve grey images of two classes, in train/ and test/."""
    draw = np.random.default_rng(0)
    for i in range(12):
        path = tmp_path / "images" / ("train" if i < 8 else "test") / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 255, (8, 8), dtype=np.uint8)).save(path)
    return tmp_path / "images"


def send(folder: Path, url: str) -> None:
    for path in folder.rglob("*.png"):
        Remote(url).put(path.relative_to(folder).as_posix(), path)


@pytest.fixture
def url(bucket: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where they lie in the store; this machine has no copy yet."""
    monkeypatch.setenv("JACKPOT_CACHE", str(tmp_path / "cache"))
    send(images, f"{bucket}/images")
    return f"{bucket}/images"


def test_they_are_copied_once_and_read_as_from_a_folder(
    url: str, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = (load_data(ImageFolder(name="image_folder", root=root)) for root in (url, str(images)))
    assert there.fingerprint == here.fingerprint
    assert there.classes == ("a", "b")

    fetched: list[str] = []
    monkeypatch.setattr(Remote, "fetch", lambda self, name, path: fetched.append(name))
    first = local_copy(url)
    assert fetched == []
    assert len(list(first.rglob("*.png"))) == 12


def test_others_under_the_same_names_are_copied_anew(url: str, images: Path) -> None:
    first = local_copy(url)
    (images / "train" / "a" / "0.png").write_bytes((images / "train" / "b" / "1.png").read_bytes())
    send(images, url)
    second = local_copy(url)
    assert first != second
    assert (second / "train/a/0.png").read_bytes() == (images / "train/b/1.png").read_bytes()
    assert (first / "train/a/0.png").exists(), "a process may still read it"


def test_what_cannot_be_copied_is_said(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKPOT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match="nothing lies there"):
        local_copy(f"{bucket}/none")
    with pytest.raises(DataError, match=r"cannot be copied to this machine .*bucket"):
        local_copy("s3://there-is-no-such-bucket/images")
    Remote(f"{bucket}/images").put("train/a/0.png", b"x")
    monkeypatch.setenv("JACKPOT_CACHE_GIB", "much")
    with pytest.raises(DataError, match="expected a number of GiB"):
        local_copy(f"{bucket}/images")
    assert not list((tmp_path / "cache" / "copies").glob("*/*"))
