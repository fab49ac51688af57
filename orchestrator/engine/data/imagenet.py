"""ImageNet and Tiny ImageNet as they are published, with the words of their WordNet ids as class names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from orchestrator.engine.data.dataset import DataSet, listed
from orchestrator.engine.data.decode import Fit
from orchestrator.engine.data.image_files import (
    Listing,
    find_root,
    images_below,
    list_folder,
    load_files,
    no_images,
)
from orchestrator.spec.data import ImageNet, TinyImageNet

IMAGENET = "expected train/ and val/ in it, and in each a folder a class (WNID), as torchvision wants them"
TINY = (
    "expected the unpacked archive: wnids.txt, train/WNID/images/*.JPEG, val/images/*.JPEG and val/val_annotations.txt"
)
WORDS = ("words.txt", "LOC_synset_mapping.txt")
"""Files beside the images that say what each id means, of which the first that is there is read."""


def load_imagenet(data: ImageNet) -> DataSet:
    """ImageNet, always streamed, since its images differ in size and are cut at random from the whole; val/ is the
    test set and validation is drawn from train/. Labels are the ids' order. Raises DataError."""
    listing, problems = list_folder(data.root, IMAGENET, "train", "val")
    if listing is not None:
        listing = replace(listing, classes=readable(listing.root, listing.classes))
    return load_files(data, listing, problems, Fit(data.resize, data.size), stream=True, whole=True)


def load_tiny_imagenet(data: TinyImageNet) -> DataSet:
    """Tiny ImageNet; val/ is the test set (the published one has no labels) and validation is drawn from train/.
    Labels are the order of the ids, sorted. Raises DataError."""
    return load_files(data, *list_tiny(data.root), Fit())


def list_tiny(root: str) -> tuple[Listing | None, list[str]]:
    """What a folder in Tiny ImageNet's layout holds, and what is wrong with it; None where nothing can be listed."""
    needed = ("wnids.txt", "train/", "val/images/", "val/val_annotations.txt")
    path, problems = find_root(root, needed, TINY)
    if problems:
        return None, problems
    ids = sorted((path / "wnids.txt").read_text().split())
    if twice := [name for name, count in Counter(ids).items() if count > 1]:
        return None, [f"{path}/wnids.txt names {listed(twice)} twice; write each id once"]
    if paths := [name for name in ids if PurePath(name).name != name or name == ".."]:
        return None, [f"{path}/wnids.txt: {listed(paths)} is a path; a class is called as its folder in train/"]
    if len(ids) < 2:
        return None, [f"{path}/wnids.txt names {len(ids)} classes; a classification needs two or more"]
    train = [images_below(path, f"train/{name}") for name in ids]
    if empty := [name for name, own in zip(ids, train, strict=True) if not own]:
        problems.append(no_images(path / "train", empty))
    if other := sorted({each.name for each in (path / "train").iterdir() if each.is_dir()} - set(ids)):
        problems.append(f"{path}/train holds {len(other)} classes that wnids.txt does not name: {listed(other)}")
    test, wrong = _annotated(path, ids)
    return Listing(path, readable(path, ids), {"train": train, "test": test}), problems + wrong


def _annotated(path: Path, ids: Sequence[str]) -> tuple[list[list[str]], list[str]]:
    """The images of val/ for each class, and what does not match between them and their labels."""
    file = path / "val" / "val_annotations.txt"
    rows = [line.split("\t") for line in file.read_text().splitlines() if line.strip()]
    if torn := [i for i, row in enumerate(rows, 1) if len(row) < 2]:
        return [], [f"{file}: line {torn[0]} names no class; expected the image, a tab and its class on each line"]
    labels = {row[0]: row[1] for row in rows}
    problems = []
    if len(labels) < len(rows):
        twice = [name for name, count in Counter(row[0] for row in rows).items() if count > 1]
        problems.append(f"{file}: {len(twice)} images stand there twice: {listed(twice)}")
    if unknown := sorted(set(labels.values()) - set(ids)):
        problems.append(f"{file}: {len(unknown)} classes are not in wnids.txt: {listed(unknown)}")
    there = {Path(name).name: name for name in images_below(path, "val/images")}
    if bare := sorted(there.keys() - labels):
        problems.append(f"{path}/val/images: {len(bare)} images have no label in val_annotations.txt: {listed(bare)}")
    if gone := sorted(labels.keys() - there):
        problems.append(f"{file}: {len(gone)} images are not in val/images: {listed(gone)}")
    of_class: dict[str, list[str]] = {name: [] for name in ids}
    for name in sorted(there.keys() & labels):
        of_class.get(labels[name], []).append(there[name])
    if empty := [name for name, own in of_class.items() if not own]:
        problems.append(f"{file}: {len(empty)} classes have no image: {listed(empty)}")
    return list(of_class.values()), problems


def readable(root: Path, ids: Sequence[str]) -> tuple[str, ...]:
    """The first word for each id in the file of words, the id where there is none or two classes share it."""
    file = next((root / name for name in WORDS if (root / name).is_file()), None)
    lines = file.read_text(encoding="utf-8").splitlines() if file else []
    rows = [line.split(None, 1) for line in lines]
    words = {row[0]: row[1].split(",")[0].strip() for row in rows if len(row) == 2}
    found = [words.get(name, name) for name in ids]
    counts = Counter(found)
    return tuple(word if counts[word] == 1 else f"{word} ({name})" for word, name in zip(found, ids, strict=True))
