"""Spaces over every network that ships: the budget is met at every proposal, and the formulas come back."""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

import pytest

from methods import budget
from methods.layers import Layer, is_residual, prunable_layers
from methods.ratios import given_counts, layer_counts
from orchestrator.engine.nets import known, skeleton
from orchestrator.spec.models import Model
from search_spaces.registry import SPACES

PROPOSALS, EVERY = 1_000, 10
"""Proposals to a space and network, and of how many one is also written as ratios and read again."""
HELD = {
    "free": ("uniform", "erk", "smart", "balanced", "lamp", "magnitude"),
    "polynomial": ("uniform", "smart"),
    "erk_power": ("uniform", "erk"),
    "stages": ("uniform",),
    "stages erk": ("erk",),
    "mixture": ("uniform", "erk", "smart", "lamp", "magnitude"),
}
"""The distributions that each space must hold."""


@cache
def network(name: str) -> tuple[tuple[Layer, ...], bool | None]:
    net = skeleton(Model(name=name), 10, (3, 32, 32))
    return prunable_layers(net), is_residual(net)


def profile(layers: Sequence[Layer], keep: int, draw: random.Random) -> list[int]:
    """Made-up counts of a trained network, with ratios up to a hundredfold apart."""
    wanted = [Fraction(10 ** draw.uniform(-2, 0)) * layer.weights for layer in layers]
    return budget.project(wanted, [1] * len(layers), [layer.weights for layer in layers], keep)


def sparsity(draw: random.Random) -> Decimal:
    return Decimal(str(round(draw.uniform(0.5, 0.99), 4)))


@pytest.mark.parametrize("name", known())
@pytest.mark.parametrize("kind", SPACES)
def test_every_proposal_meets_the_budget(kind: str, name: str) -> None:
    (layers, residual), draw = network(name), random.Random(f"{kind} {name}")
    total, asked = budget.total(layers), Decimal(0)
    for number in range(PROPOSALS):
        if number % 50 == 0:
            asked = sparsity(draw)
            keep = budget.kept(total, asked)
            profiles = {each: profile(layers, keep, draw) for each in ("lamp", "magnitude")}
            space = SPACES[kind](layers, residual, profiles)
        point = {each: draw.uniform(low, high) for each, (low, high) in space.coordinates.items()}
        counts = space.counts(point, keep)
        assert sum(counts) == keep
        assert all(1 <= count <= layer.weights for count, layer in zip(counts, layers, strict=True))
        if number % EVERY == 0:
            written = {
                layer.name: Decimal(str(count / layer.weights)) for layer, count in zip(layers, counts, strict=True)
            }
            assert given_counts(written, layers, asked) == counts
            assert space.counts(point, keep) == counts


@pytest.mark.parametrize("name", known())
@pytest.mark.parametrize("kind", HELD)
def test_every_warm_start_comes_back_within_a_weight_a_layer(kind: str, name: str) -> None:
    (layers, residual), draw = network(name), random.Random(f"{kind} {name}")
    kind, _, base = kind.partition(" ")
    options: dict[str, Any] = {"base": base} if base else {}
    for asked in [
        Decimal("0.5"),
        Decimal("0.9"),
        Decimal("0.98"),
        Decimal("0.99"),
        *(sparsity(draw) for _ in range(3)),
    ]:
        keep = budget.kept(budget.total(layers), asked)
        profiles = {each: profile(layers, keep, draw) for each in ("lamp", "magnitude")}
        space = SPACES[kind](layers, residual, profiles, **options)
        for start in HELD[f"{kind} {base}".strip()]:
            counts = profiles.get(start) or layer_counts(start, layers, asked, residual=residual)
            point = space.point(counts, keep)
            assert all(low <= point[each] <= high for each, (low, high) in space.coordinates.items())
            assert list(point) == list(space.coordinates)
            found = space.counts(point, keep)
            assert all(abs(a - b) <= 1 for a, b in zip(found, counts, strict=True)), (start, asked)


@pytest.mark.parametrize("kind", SPACES)
def test_what_a_space_proposed_comes_back(kind: str) -> None:
    (layers, residual), draw = network("resnet20"), random.Random(kind)
    space = SPACES[kind](layers, residual)
    keep = budget.kept(budget.total(layers), Decimal("0.8"))
    for _ in range(20):
        point = {each: draw.uniform(low, high) for each, (low, high) in space.coordinates.items()}
        counts = space.counts(point, keep)
        back = space.counts(space.point(counts, keep), keep)
        assert all(abs(a - b) <= 1 for a, b in zip(back, counts, strict=True)), point
