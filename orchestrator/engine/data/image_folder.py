"""A folder of images: train/ and test/, in each a folder a class."""

from __future__ import annotations

from orchestrator.engine.data.dataset import DataSet
from orchestrator.engine.data.decode import Fit
from orchestrator.engine.data.image_files import list_folder, load_files
from orchestrator.spec.data import ImageFolder

LAYOUT = "expected train/ and test/ in it, and in each a folder a class"


def load_image_folder(data: ImageFolder) -> DataSet:
    """The images of a folder: all of one size, or made so by `size`. Validation is drawn class by class from
    train/; the normalisation is measured on all of train/ unless the spec gives it. Raises DataError."""
    return load_files(data, *list_folder(data.root, LAYOUT), Fit(data.size, data.size), data.stream)
