"""Data sets, decoded once into memory or streamed from their files, and their batches on the device."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from orchestrator.engine.data.batches import Batches
from orchestrator.engine.data.cifar import load_cifar
from orchestrator.engine.data.copies import local_copy
from orchestrator.engine.data.dataset import DataError, DataSet, Split
from orchestrator.engine.data.digits import load_digits
from orchestrator.engine.data.fake import load_fake
from orchestrator.engine.data.image_folder import load_image_folder
from orchestrator.engine.data.imagenet import load_imagenet, load_tiny_imagenet
from orchestrator.engine.data.user import load_user
from orchestrator.engine.data.views import class_block, half, permuted_pixels, random_labels
from orchestrator.spec import data as sections
from orchestrator.spec.section import Section

__all__ = [
    "Batches",
    "DataError",
    "DataSet",
    "Split",
    "class_block",
    "half",
    "load_data",
    "permuted_pixels",
    "random_labels",
]

_LOADERS: dict[type[Section], Callable[[Any], DataSet]] = {
    sections.Digits: load_digits,
    sections.Cifar10: load_cifar,
    sections.Cifar100: load_cifar,
    sections.TinyImageNet: load_tiny_imagenet,
    sections.ImageNet: load_imagenet,
    sections.ImageFolder: load_image_folder,
    sections.Fake: load_fake,
    sections.UserData: load_user,
}


def load_data(data: sections.Data) -> DataSet:
    """The data set a spec names. Loaded once a process: files that change meanwhile are not read again, so that
    one sweep sees one data set. Raises DataError with all that is wrong."""
    # a relative root means another folder elsewhere; and the options of a user's own take no part in its section's hash
    return _load(data, os.getcwd())


@lru_cache(maxsize=4)
def _load(data: sections.Data, folder: str) -> DataSet:
    if "://" in (root := getattr(data, "root", "")):
        data = data.model_copy(update={"root": str(local_copy(root))})
    return _LOADERS[type(data)](data)
