"""How a network that cannot be had is reported."""

from __future__ import annotations

Problem = tuple[tuple[str, ...], str]
"""Where in the model's section of a spec something is wrong (`("width",)`), and what."""


class ModelError(ValueError):
    """A network that cannot be built, or weights that do not fit it; `problems` says all that is wrong."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(f"{'.'.join(path)}: {message}" for path, message in problems))


class InputError(ModelError):
    """A network that cannot take the images."""

    def __init__(self, name: str, shape: tuple[int, int, int], reason: str) -> None:
        size = "x".join(map(str, shape))
        super().__init__((("name",), f"{name!r} cannot take images of {size} (channels x height x width): {reason}"))


def said(error: Exception) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
