"""The one file format that Jackpot reads and that is pickled: CIFAR's batches. Plain values and arrays alone come
out of them; a file that would run code is refused before it does."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.engine.data.dataset import DataError


class _Forbidden(Exception):
    pass


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if encoding != "latin1":
        raise _Forbidden(f"text in {encoding}")
    return text.encode("latin1")


_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("_codecs", "encode"): _latin1,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise _Forbidden(f"{module}.{name}")
        return _ALLOWED[module, name]


def unpickle(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """The dict in a pickled file, with text of Python 2 read as Latin-1. Raises DataError where it is torn, holds
    anything but dicts, lists, numbers, text and arrays, or lacks one of the keys."""
    try:
        with open(path, "rb") as file:
            content = _Unpickler(file, encoding="latin1").load()
    except _Forbidden as error:
        raise DataError(
            f"{path} holds {error}, which is neither plain values nor an array: it is no file of CIFAR, and was not "
            "run; unpack the published archive again"
        ) from error
    except Exception as error:  # a torn pickle can raise anything
        raise DataError(f"{path} cannot be read ({type(error).__name__}: {error}); unpack the archive again") from error
    missing = [key for key in keys if key not in content] if isinstance(content, dict) else list(keys)
    if missing:
        raise DataError(f"{path} holds no {' and no '.join(map(repr, missing))}; unpack the published archive again")
    return content
