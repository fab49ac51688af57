"""How a network that cannot be had is reported."""

from __future__ import annotations

Problem = tuple[tuple[str, ...], str]
"""Where in the model's section of a spec something is wrong (`("width",)`), and what."""


class ModelError(ValueError):
    """A network that cannot be built, or weights that do not fit it; `problems` says all that is wrong."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(f"{'.'.join(path)}: {message}" for path, message in problems))
