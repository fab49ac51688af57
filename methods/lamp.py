"""LAMP: layer-adaptive magnitudes, a layer-wise ratio that the trained weights say."""

from __future__ import annotations

import torch

from methods.bench import Tensors, Workbench
from methods.masks import keep_largest

PAPER = "Lee et al., Layer-adaptive Sparsity for the Magnitude-based Pruning, ICLR 2021"


def lamp_scores(weight: torch.Tensor) -> torch.Tensor:
    """The square of each weight over the sum of the squares of its layer's weights that are not smaller (Lee et al.,
    eq. 4), in float64; of equal weights the earlier one counts as larger. The largest of a layer scores 1, so that
    none is emptied while there are as many weights to keep as layers. All zero scores 0."""
    squares = weight.detach().flatten().double().square()
    ordered, order = squares.sort(stable=True, descending=True)
    sums = ordered.cumsum(0)
    scores = torch.zeros_like(squares)
    scores[order] = torch.where(sums > 0, ordered / sums.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
    return scores.reshape(weight.shape)


def lamp_masks(bench: Workbench, weights: Tensors, masks: Tensors, keep: int) -> Tensors:
    """Masks within `masks` of the `keep` largest LAMP scores over all layers, the scores those of the weights that are
    left. A removed weight never comes back."""
    scores = {}
    for layer in bench.layers:
        left = masks[layer.name]
        # -1 ranks what an earlier level removed below every weight that is left, zeros included
        scores[layer.name] = torch.where(left, lamp_scores(weights[layer.parameter] * left), -1.0)
    return keep_largest(scores, keep)
