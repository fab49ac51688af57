"""Where every random draw comes from: a generator derived from the trial's seed and a purpose."""

from __future__ import annotations

import hashlib

import torch


def derive(seed: int, purpose: str, *parts: int | str) -> int:
    """A 63-bit seed for one purpose of a trial; `parts` (epoch, step, ...) separate its draws.
    Hashed, so that neighbouring seeds, steps and purposes give unrelated streams."""
    text = "/".join(map(str, (seed, purpose, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, purpose: str, *parts: int | str) -> torch.Generator:
    """A CPU generator seeded with `derive`: the same draws whatever device the trial runs on."""
    return torch.Generator().manual_seed(derive(seed, purpose, *parts))
