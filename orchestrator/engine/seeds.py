"""Where every random draw comes from: a generator derived from the trial's seed and a purpose."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive(seed: int, purpose: str, *parts: int | str) -> int:
    """A 63-bit seed for one purpose of a trial; `parts` (epoch, step, ...) separate its draws.
    Hashed, so that neighbouring seeds, steps and purposes give unrelated streams."""
    text = "/".join(map(str, (seed, purpose, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, purpose: str, *parts: int | str) -> torch.Generator:
    """A CPU generator seeded with `derive`: the same draws whatever device the trial runs on."""
    return torch.Generator().manual_seed(derive(seed, purpose, *parts))


def seed_globals(seed: int, purpose: str, *parts: int | str) -> None:
    """Seed the generators that a network may draw from by itself: torch's (dropout), Python's and numpy's. Done
    anew for every step, so that what a process drew before changes nothing."""
    derived = derive(seed, purpose, *parts)
    # as torch.manual_seed, which looks for devices of seven kinds and takes a millisecond, at every training step
    torch.default_generator.manual_seed(derived)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(derived)
    random.seed(derived)
    np.random.seed(derived % 2**32)


@contextmanager
def globals_seeded(seed: int, purpose: str) -> Iterator[None]:
    """`seed_globals` for a block; afterwards the CPU generators are as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        seed_globals(seed, purpose)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
