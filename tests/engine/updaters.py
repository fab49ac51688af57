"""Updaters for tests: what they do is plain to see in the masks."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from methods.masks import keep_largest_per_layer
from methods.updater import Change, Moment, Updater


@dataclass(frozen=True)
class Halves(Updater):
    """Every `every` steps keeps half of each layer, drawn anew: weights are removed, and come back."""

    every: int = 2
    reset: bool = False

    def due(self, step: int) -> bool:
        return step % self.every == 0

    def change(self, moment: Moment) -> Change:
        scores = {
            name: torch.rand(mask.shape, generator=moment.generator("halves", name), dtype=torch.float64)
            for name, mask in moment.masks.items()
        }
        masks = keep_largest_per_layer(scores, {name: mask.numel() // 2 for name, mask in moment.masks.items()})
        return Change(masks, {name: mask.clone() for name, mask in masks.items()} if self.reset else None)


@dataclass(frozen=True)
class Watching(Updater):
    """Keeps everything, and shows what it was shown."""

    def due(self, step: int) -> bool:
        return step == 2

    def change(self, moment: Moment) -> Change:
        seen.append(moment)
        return Change({name: torch.ones_like(mask) for name, mask in moment.masks.items()})


seen: list[Moment] = []
