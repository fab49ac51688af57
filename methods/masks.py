"""Masks from scores: exact counts, ties broken stably."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from methods.bench import Tensors


def keep_largest(scores: Mapping[str, torch.Tensor], keep: int) -> Tensors:
    """Masks that keep exactly the `keep` largest scores over all layers together; of equal scores the earlier
    one (layer order, then position) is kept. Raises ValueError on a score that is not a number."""
    flat = torch.cat([score.detach().flatten() for score in scores.values()]) if scores else torch.empty(0)
    chosen = _largest(flat, keep)
    masks, start = {}, 0
    for name, score in scores.items():
        masks[name] = chosen[start : start + score.numel()].reshape(score.shape)
        start += score.numel()
    return masks


def keep_largest_per_layer(scores: Mapping[str, torch.Tensor], keep: Mapping[str, int]) -> Tensors:
    """Masks that keep exactly the `keep[name]` largest scores of each layer, ties as in `keep_largest`."""
    return {name: _largest(score.detach().flatten(), keep[name]).reshape(score.shape) for name, score in scores.items()}


def refuse_zeros(scores: Mapping[str, torch.Tensor]) -> None:
    """Raise ValueError where every score is zero: the order of the layers alone would choose the ticket."""
    if not any(score.any() for score in scores.values()):
        raise ValueError(
            "every weight scores zero, so the scores choose none: nothing flows through the initial network, as where "
            "its classifier begins at zero (torchvision's ViT does); start from others with `weights` of the model"
        )


def _largest(scores: torch.Tensor, keep: int) -> torch.Tensor:
    """A bool vector with exactly `keep` True at the largest of `scores`."""
    if not 0 <= keep <= scores.numel():
        raise ValueError(f"cannot keep {keep} of {scores.numel()} weights")
    if not torch.isfinite(scores).all():
        raise ValueError("a score is not finite: the network or its gradients diverged")
    chosen = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    if keep == 0:
        return chosen
    # The k-th largest value splits the scores; only those equal to it need an order of their own.
    threshold = scores.kthvalue(scores.numel() - keep + 1).values
    chosen = scores > threshold
    ties = (scores == threshold).nonzero().flatten()
    chosen[ties[: keep - int(chosen.sum())]] = True
    return chosen
