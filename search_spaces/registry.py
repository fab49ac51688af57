"""Every space of layer-wise ratios by name."""

from __future__ import annotations

import difflib

from search_spaces.erk_power import ErkPower
from search_spaces.free import Free
from search_spaces.mixture import Mixture
from search_spaces.polynomial import Polynomial
from search_spaces.space import Space
from search_spaces.stages import Stages

SPACES: dict[str, type[Space]] = {space.name: space for space in (Free, Polynomial, ErkPower, Stages, Mixture)}


def get(name: str) -> type[Space]:
    """The space of that name. Raises LookupError naming the nearest and all known."""
    if name in SPACES:
        return SPACES[name]
    nearest = difflib.get_close_matches(name, SPACES, n=1)
    meant = f"did you mean {nearest[0]!r}? " if nearest else ""
    raise LookupError(f"unknown space {name!r}; {meant}known: {', '.join(SPACES)}")
