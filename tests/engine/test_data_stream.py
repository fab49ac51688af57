"""Streamed images: the same batches as decoded ones, whatever the number of threads and wherever a run resumes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_folders import folder_spec, save
from torch import nn

from orchestrator.engine.data import Batches, DataError, DataSet, image_files, permuted_pixels, stream
from orchestrator.engine.data.image_folder import load_image_folder
from orchestrator.engine.data.imagenet import load_imagenet
from orchestrator.engine.data.stream import AHEAD, Streamed, ahead
from orchestrator.engine.seeds import generator
from orchestrator.engine.train import Trainer
from orchestrator.spec.data import ImageNet
from orchestrator.spec.models import Augmentation, Recipe

pytestmark = pytest.mark.usefixtures("cache")

CPU = torch.device("cpu")
ALL = Augmentation(random_resized_crop=(0.2, 1.0), flip=True, rotation=20)
CLASSES, EACH = 3, 14


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Three classes of 14 training and 6 test images, of sizes from 20 to 40 pixels."""
    draw = np.random.default_rng(0)
    root = tmp_path / "mixed"
    for split, count in (("train", EACH), ("test", 6), ("val", 6)):
        for label in range(CLASSES):
            for i in range(count):
                size = draw.integers(20, 41, 2)
                save(root / split / f"n{label}" / f"{i}.jpg", draw.integers(0, 256, (*size, 3), np.uint8))
    return root


def _folder(root: Path, **options: Any) -> DataSet:
    return load_image_folder(folder_spec(root, size=16, **options))


def _whole(root: Path, **options: Any) -> DataSet:
    return load_imagenet(ImageNet(name="imagenet", root=str(root), size=16, resize=18, **options))


def _plan(count: int, batch: int = 10) -> list[tuple[torch.Tensor, torch.Generator]]:
    order = torch.randperm(count, generator=generator(3, "order"))
    return [(own, generator(3, "augmentation", step)) for step, own in enumerate(order.split(batch))]


def _all(batches: Any) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def _equal(ours: Any, theirs: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(_all(ours), _all(theirs), strict=True))


# The same as decoded


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_streamed_images_are_the_decoded_ones_bit_for_bit(files: Path, split: str) -> None:
    decoded, streamed = (
        Batches(_folder(files, stream=each), Augmentation(), CPU).evaluation(split, batch_size=7)
        for each in (False, True)
    )
    assert _equal(decoded, streamed)


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(crop=3, flip=True), ALL])
def test_streamed_training_batches_of_a_folder_are_the_decoded_ones(files: Path, augmentation: Augmentation) -> None:
    decoded, streamed = (Batches(_folder(files, stream=each), augmentation, CPU) for each in (False, True))
    assert isinstance(decoded.data.train.images, np.memmap)
    assert isinstance(streamed.data.train.images, Streamed)
    count = len(decoded.data.train.labels)
    assert _equal(decoded.training(_plan(count)), streamed.training(_plan(count)))
    for ours, theirs in zip(decoded.scoring(2, generator(1, "s")), streamed.scoring(2, generator(1, "s")), strict=True):
        assert torch.equal(ours, theirs)


def test_mean_and_std_are_the_same_streamed_and_decoded(files: Path) -> None:
    decoded, streamed = _folder(files, stream=False), _folder(files, stream=True)
    assert (decoded.mean, decoded.std) == (streamed.mean, streamed.std)
    assert decoded.fingerprint != streamed.fingerprint  # one is of pixels, the other of files


def test_what_is_too_large_to_decode_is_streamed(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = 3 * (EACH + 6)
    monkeypatch.setattr(image_files, "CACHED_BYTES", images * 16 * 16 * 3)
    assert isinstance(_folder(files).train.images, np.memmap)
    monkeypatch.setattr(image_files, "CACHED_BYTES", images * 16 * 16 * 3 - 1)
    assert isinstance(_folder(files).train.images, Streamed)


# Random cuts of the whole image


def test_a_cut_of_the_whole_image_is_torchvisions_resized_crop(files: Path) -> None:
    from PIL import Image
    from torchvision.transforms import functional

    data = _whole(files, validation=0.0)
    batches = Batches(data, Augmentation(random_resized_crop=(0.1, 0.6)), CPU)
    positions = torch.arange(20)
    images, _ = batches.train(positions, generator(0, "augmentation"))
    drawn = torch.rand(20, 10, 4, generator=generator(0, "augmentation"), dtype=torch.float64).numpy()
    mean, std = torch.tensor(data.mean)[:, None, None], torch.tensor(data.std)[:, None, None]
    seen = set()
    for position in range(20):
        image = Image.open(files / "train" / f"n{position // EACH}" / f"{_number(position)}.jpg")
        box = stream.Cuts(drawn, (0.1, 0.6)).of(position, image.height, image.width)
        expected = functional.pil_to_tensor(functional.resized_crop(image, *box, [16, 16])) / 255
        torch.testing.assert_close(images[position], (expected - mean) / std, rtol=0, atol=1e-5)
        seen.add(box)
    assert len(seen) == 20


def _number(position: int) -> int:
    """The file of a position in its class: they are sorted as text, 0, 1, 10, 11, ..."""
    return sorted(range(EACH), key=str)[position % EACH]


# Threads, and where a run resumes


@pytest.mark.parametrize("load", [_folder, _whole])
def test_the_number_of_threads_changes_nothing(files: Path, load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"stream": True} if load is _folder else {}
    batches = Batches(load(files, **options), ALL, CPU)
    count = len(batches.data.train.labels)
    found = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(stream, "workers", lambda threads=threads: threads)
        found.append(_all(batches.training(_plan(count))))
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))
    one_by_one = [batches.train(*each) for each in _plan(count)]
    assert _equal(one_by_one, batches.training(_plan(count)))


def _trainer(data: DataSet) -> Trainer:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(196, 3))
    recipe = Recipe(epochs=3, batch=8, lr=0.05)
    return Trainer(
        net.to(memory_format=torch.channels_last), Batches(data, ALL, CPU), len(data.train.labels), recipe, 5, 0
    )


@pytest.mark.parametrize("at", [2, 5, 7])  # five steps an epoch: inside one, at its end, inside the next
def test_a_training_resumed_inside_an_epoch_ends_with_the_same_weights(files: Path, at: int) -> None:
    data = _whole(files)
    undisturbed, broken, resumed = _trainer(data), _trainer(data), _trainer(data)
    assert undisturbed.per_epoch == 5
    undisturbed.run(12)

    class Stop(Exception):
        pass

    def stop() -> None:
        if broken.progress.step == at:
            raise Stop

    with pytest.raises(Stop):
        broken.run(12, on_step=stop)
    resumed.restore({name: value.clone() for name, value in broken.state().items()})
    resumed.run(12)
    assert resumed.progress.step == 12
    expected, found = undisturbed.net.state_dict(), resumed.net.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_batches_are_begun_ahead_and_given_in_order() -> None:
    log: list[str] = []

    def begun() -> Any:
        for i in range(5):
            log.append(f"begin {i}")
            yield lambda i=i: log.append(f"give {i}") or i

    given = ahead(begun())
    assert next(given) == 0
    assert log == [*(f"begin {i}" for i in range(AHEAD + 1)), "give 0"]
    assert list(given) == [1, 2, 3, 4]


def test_the_next_batches_are_read_while_one_is_trained_on(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = Batches(_whole(files), Augmentation(), CPU)
    read: list[Path] = []
    plain = stream.read
    monkeypatch.setattr(stream, "read", lambda path: read.append(path) or plain(path))
    given = batches.training(_plan(30, batch=5))
    next(given)
    until = time.monotonic() + 30
    while len(read) < 15 and time.monotonic() < until:  # nobody asks for more meanwhile
        time.sleep(0.01)
    assert len(read) == 5 * (1 + AHEAD)


# What is given up


def test_a_file_that_breaks_after_it_was_looked_at_is_named(files: Path) -> None:
    batches = Batches(_whole(files, validation=0.0), Augmentation(), CPU)
    (files / "train/n0/0.jpg").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"train/n0/0.jpg .* cannot be read any more; put it back"):
        batches.train(torch.tensor([3, 0]), generator(0, "x"))


def test_streamed_images_are_never_held_on_a_device(files: Path) -> None:
    from orchestrator.engine.data.batches import _resident

    data = _folder(files, stream=True)
    assert _resident(data, CPU) == {}
    assert _resident(permuted_pixels(data, 0), CPU) == {}


def test_the_files_are_looked_through_once(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _whole(files)
    monkeypatch.setattr(image_files, "survey", None)
    assert _whole(files).fingerprint == before.fingerprint
