"""Moments of a training, made by hand or of noise: what updaters are tried on without an engine."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from methods.bench import Tensors
from methods.updater import Change, Moment, Updater
from orchestrator.engine.seeds import generator


def moment(
    weights: dict[str, list[float]],
    kept: dict[str, list[int]],
    gradients: dict[str, list[float]] | None = None,
    step: int = 1,
    steps: int = 100,
    seed: int = 0,
) -> Moment:
    """A moment of vectors, `kept` as 1 and 0."""
    masks = {name: torch.tensor(value, dtype=torch.bool) for name, value in kept.items()}
    values = {name: torch.tensor(value) * masks[name] for name, value in weights.items()}
    found = {name: torch.tensor(value) for name, value in (gradients or weights).items()}
    return Moment(step, steps, values, masks, found, lambda purpose, *parts: generator(seed, purpose, step, *parts))


def positions(masks: Tensors) -> dict[str, list[int]]:
    """Masks of vectors as 1 and 0."""
    return {name: mask.int().tolist() for name, mask in masks.items()}


def trained(
    updater: Updater, masks: Tensors, steps: int, seed: int = 0, gradients: bool = True
) -> Iterator[tuple[Moment, Change]]:
    """A training of noise: at every step each kept weight moves, and where the updater is due the masks change as the
    engine changes them. Yields each moment and the change that was made at it."""
    draws = torch.Generator().manual_seed(seed)
    masks = {name: mask.clone() for name, mask in masks.items()}
    weights = {name: torch.randn(mask.shape, generator=draws) * mask for name, mask in masks.items()}
    for step in range(1, steps + 1):
        noise = {name: torch.randn(mask.shape, generator=draws) for name, mask in masks.items()}
        weights = {name: (weights[name] + 0.3 * noise[name]) * masks[name] for name in masks}
        if not updater.due(step):
            continue
        now = Moment(
            step,
            steps,
            {name: value.clone() for name, value in weights.items()},
            masks,
            noise if gradients else {name: torch.zeros_like(value) for name, value in noise.items()},
            lambda purpose, *parts, step=step: generator(seed, purpose, step, *parts),
        )
        before = {name: mask.clone() for name, mask in masks.items()}
        change = updater.change(now)
        assert all(torch.equal(before[name], masks[name]) for name in masks), "an updater changes nothing in place"
        assert all(torch.equal(now.weights[name], weights[name]) for name in masks)
        yield now, change
        reset = change.reset or {name: torch.zeros_like(mask) for name, mask in masks.items()}
        weights = {name: weights[name] * (masks[name] & change.masks[name] & ~reset[name]) for name in masks}
        masks = {name: mask.clone() for name, mask in change.masks.items()}
