"""Data sets, decoded once into memory, and their batches on the device."""

from __future__ import annotations

import os
from functools import lru_cache

from orchestrator.engine.data.batches import Batches
from orchestrator.engine.data.dataset import DataError, DataSet, Split
from orchestrator.engine.data.digits import load_digits
from orchestrator.engine.data.image_folder import load_image_folder, problems_of_folder
from orchestrator.spec.models import Digits, ImageFolder

__all__ = ["Batches", "DataError", "DataSet", "Split", "check_data", "load_data"]


def load_data(data: Digits | ImageFolder) -> DataSet:
    """The data set a spec names. Loaded once a process: a folder that changes meanwhile is not read again, so
    that one sweep sees one data set. Raises DataError."""
    return _load(data, os.getcwd())  # a relative root means another folder elsewhere


@lru_cache(maxsize=4)
def _load(data: Digits | ImageFolder, folder: str) -> DataSet:
    return load_digits(data) if isinstance(data, Digits) else load_image_folder(data)


def check_data(data: Digits | ImageFolder) -> list[str]:
    """All that is wrong with a data set as far as can be seen without decoding its images."""
    if isinstance(data, ImageFolder):
        return problems_of_folder(data)
    try:
        load_data(data)
    except DataError as error:
        return error.problems
    return []
