"""What is wrong with a network that cannot be made compact."""

from __future__ import annotations


class CompactError(ValueError):
    """A network cannot be made compact; the message names it, says why and what to do."""

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(f"{name}: cannot be made compact: {cause}; use it as it is, without the compact runtime")
