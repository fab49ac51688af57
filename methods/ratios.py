"""Closed forms of the layer-wise ratio: how many weights each layer keeps, for a budget over all of them.

Sources: smart, ascend, linear_decay, cubic: Su et al., "Sanity-Checking Pruning Methods", NeurIPS 2020, and its
authors' code; erk: Evci et al., "Rigging the Lottery", ICML 2020 (Erdos-Renyi-kernel); balanced: Gadhikar et
al., "Why Random Pruning Is All We Need to Start Sparse", ICML 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

from methods import budget
from methods.layers import Layer

CLASSIFIER_KEEP = Decimal("0.3")
"""The smart ratio's fixed keep ratio of the classifier, at every sparsity."""

# q_l of layer l = 1..n: the smart ratio and the ablations of Su et al. (their appendix and code).
_DECAYS: dict[str, Callable[[int, int], int]] = {
    "smart": lambda left, number: left * left + left,
    "linear_decay": lambda left, number: left,
    "cubic": lambda left, number: left**3,
    "ascend": lambda left, number: number * number + number,
}


def layer_counts(
    ratio: str,
    layers: Sequence[Layer],
    sparsity: Decimal,
    *,
    residual: bool | None,
    classifier_keep: Decimal | None = None,
    reference: bool = False,
) -> list[int]:
    """Weights that each layer keeps, in layer order, adding up to the budget N - round(p N) exactly.

    `residual`: whether the network has residual connections; the decays of Su et al. are divided by l^2 where
    it has none, as in their code. `classifier_keep`: fixed keep ratio of the last linear layer (default: 0.3
    for their decays, free otherwise). `reference`: round every layer down at the end, as their code does (which
    also rounds on the way: a layer may differ from it by a few weights), so that the sum may fall short of the
    budget by up to a weight a layer. Raises ValueError for an unknown ratio, for a decay of Su et al. where
    `residual` is not known, and for a classifier that alone is over the budget."""
    keep = budget.kept(budget.total(layers), sparsity)
    fixed = _fixed(ratio, classifier_keep)
    if fixed is not None and (last := _classifier(layers)) is not None:
        own = fixed * layers[last].weights
        if (int(own) if reference else own) > keep:
            raise ValueError(
                f"a classifier that keeps {fixed} of its {layers[last].weights} weights is over the budget of "
                f"{keep} weights at sparsity {sparsity}; lower `classifier_keep`"
            )
    return formula_counts(ratio, layers, keep, residual=residual, classifier_keep=classifier_keep, reference=reference)


def formula_counts(
    ratio: str,
    layers: Sequence[Layer],
    keep: int,
    *,
    residual: bool | None,
    classifier_keep: Decimal | None = None,
    reference: bool = False,
) -> list[int]:
    """`layer_counts` for a budget of `keep` weights, where a classifier over the budget is cut to it. Raises
    ValueError for an unknown ratio, and for a decay of Su et al. where `residual` is not known."""
    if ratio not in RATIOS:
        raise ValueError(f"unknown ratio {ratio!r}; known: {', '.join(RATIOS)}")
    if ratio in _DECAYS and residual is None:
        raise ValueError(
            f"ratio {ratio} depends on whether the network has residual connections, and this one does not say; give "
            "it an attribute `residual`, True or False, or choose uniform, balanced or erk"
        )
    caps = [layer.weights for layer in layers]
    classifier_keep = _fixed(ratio, classifier_keep)
    weights = _proportions(ratio, layers, residual)
    fixed: dict[int, Fraction] = {}
    if classifier_keep is not None and (last := _classifier(layers)) is not None:
        own = Fraction(classifier_keep) * caps[last]
        fixed[last] = min(Fraction(int(own)) if reference else own, Fraction(keep))
    carries = ratio in _DECAYS or ratio == "uniform"
    fill = carry_down if carries else fill_up
    exact = fill([Fraction(0) if i in fixed else w for i, w in enumerate(weights)], caps, keep, fixed)
    if reference:
        return [int(value) for value in exact]
    return budget.share(exact, caps, keep)


def given_counts(ratios: Mapping[str, Decimal], layers: Sequence[Layer], sparsity: Decimal) -> list[int]:
    """Weights that each layer keeps under given keep ratios, in layer order: these scaled to the budget
    N - round(p N), with layers that would be over-full dense. Raises ValueError where the ratios are not those of
    these layers, or keep nothing."""
    names = [layer.name for layer in layers]
    if wrong := [name for name in ratios if name not in names] or [name for name in names if name not in ratios]:
        fault = "is no layer of the network" if wrong[0] in ratios else "is missing"
        raise ValueError(f"ratios: {wrong[0]!r} {fault}; expected a keep ratio for each of {', '.join(names)}")
    caps = [layer.weights for layer in layers]
    keep = budget.kept(sum(caps), sparsity)
    wanted = [Fraction(ratios[layer.name]) * layer.weights for layer in layers]
    if sum(cap for cap, own in zip(caps, wanted, strict=True) if own) < keep:
        raise ValueError(
            f"ratios: the layers that are to keep anything hold fewer than the {keep} weights that sparsity {sparsity} "
            "keeps; give more layers a ratio above 0"
        )
    return budget.share(fill_up(wanted, caps, keep, {}), caps, keep)


def _fixed(ratio: str, classifier_keep: Decimal | None) -> Decimal | None:
    """Fixed keep ratio of the classifier: what is asked, or what the formula says."""
    return CLASSIFIER_KEEP if classifier_keep is None and ratio in _DECAYS else classifier_keep


def _classifier(layers: Sequence[Layer]) -> int | None:
    """Position of the network's last linear layer, where it is prunable."""
    return next((i for i, layer in enumerate(layers) if layer.classifier), None)


def _proportions(ratio: str, layers: Sequence[Layer], residual: bool | None) -> list[Fraction]:
    """Unscaled number of weights of each layer: only their proportions matter."""
    n = len(layers)
    if ratio == "uniform":
        return [Fraction(layer.weights) for layer in layers]
    if ratio == "balanced":  # the same number of weights in each layer
        return [Fraction(1) for _ in layers]
    if ratio == "erk":  # density proportional to sum(dims) / prod(dims), hence count to sum(dims)
        return [Fraction(sum(layer.shape)) for layer in layers]
    decay = _DECAYS[ratio]
    q = [Fraction(decay(n - number + 1, number), 1 if residual else number**2) for number in range(1, n + 1)]
    return [value * layer.weights for value, layer in zip(q, layers, strict=True)]


def carry_down(weights: list[Fraction], caps: list[int], keep: int, fixed: dict[int, Fraction]) -> list[Fraction]:
    """Scale to the budget; what a layer cannot hold moves on to the next (Su et al.). What the last one cannot
    hold fills the first layers with room, the fixed classifier last of all."""
    scale = (keep - sum(fixed.values(), Fraction(0))) / (sum(weights, Fraction(0)) or 1)
    exact, carry = [], Fraction(0)
    for i, weight in enumerate(weights):
        wanted = fixed[i] if i in fixed else weight * scale + carry
        exact.append(min(wanted, Fraction(caps[i])))
        if i not in fixed:
            carry = wanted - exact[i]
    carry = keep - sum(exact, Fraction(0))
    for i in sorted(range(len(caps)), key=lambda i: (i in fixed, i)):
        if carry <= 0:
            break
        room = min(carry, caps[i] - exact[i])
        exact[i], carry = exact[i] + room, carry - room
    return exact


def fill_up(weights: list[Fraction], caps: list[int], keep: int, fixed: dict[int, Fraction]) -> list[Fraction]:
    """Scale to the budget; layers that would be over-full become dense and the rest is scaled again, until all
    fit (Evci et al., their code's loop)."""
    exact = [fixed.get(i, Fraction(0)) for i in range(len(caps))]
    free = [i for i in range(len(caps)) if i not in fixed]
    while free:
        left = keep - sum(exact, Fraction(0))
        scale = left / sum((weights[i] for i in free), Fraction(0))
        full = [i for i in free if weights[i] * scale > caps[i]]
        if not full:
            for i in free:
                exact[i] = weights[i] * scale
            return exact
        for i in full:
            exact[i] = Fraction(caps[i])
        free = [i for i in free if i not in full]
    for i in fixed:  # everything else is dense: the classifier takes the rest
        exact[i] = keep - sum((value for j, value in enumerate(exact) if j != i), Fraction(0))
    return exact


RATIOS = ("uniform", "balanced", "erk", "smart", "ascend", "linear_decay", "cubic")
