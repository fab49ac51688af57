"""The one file format that Jackpot reads and that is pickled: CIFAR's batches. Plain values and arrays of numbers alone
come out of them; a file that would run code is refused before it does.

numpy itself is not let at the file: told that bytes are an array of objects, or of a type whose flags the file sets, it
takes them for addresses. What a batch says of its arrays is read by stand-ins."""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.engine.data.dataset import DataError


class _Forbidden(Exception):
    pass


class _Type:
    """The type of an array: of whole or real numbers, in one byte order."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        if not isinstance(code, str) or not re.fullmatch("[|<>]?[iuf][1248]", code):
            raise _Forbidden(f"an array of {code!r}")
        self.type = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        order, *fields = state[1:5]
        if order not in ("<", ">", "|", "=") or any(field is not None for field in fields):
            raise _Forbidden("an array of records")
        self.type = self.type.newbyteorder(order)


class _Array:
    """An array in the making."""

    value: np.ndarray

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, values = state
        if not isinstance(kind, _Type) or not isinstance(values, bytes):
            raise _Forbidden("an array that is none of numbers")
        self.value = np.frombuffer(values, kind.type).reshape(shape, order="F" if fortran else "C")


def _array(*_: Any) -> _Array:
    return _Array()


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if encoding != "latin1":
        raise _Forbidden(f"text in {encoding}")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy._core.multiarray", "_reconstruct"): _array,
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
        if isinstance(content, dict):
            content = {key: value.value if isinstance(value, _Array) else value for key, value in content.items()}
    except _Forbidden as error:
        raise DataError(
            f"{path} holds {error}, which is neither plain values nor an array of numbers: it is no file of CIFAR, and "
            "was not run; unpack the published archive again"
        ) from error
    except Exception as error:  # a torn pickle can raise anything
        raise DataError(f"{path} cannot be read ({type(error).__name__}: {error}); unpack the archive again") from error
    missing = [key for key in keys if key not in content] if isinstance(content, dict) else list(keys)
    if missing:
        raise DataError(f"{path} holds no {' and no '.join(map(repr, missing))}; unpack the published archive again")
    return content
