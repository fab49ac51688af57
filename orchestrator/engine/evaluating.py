"""How good a network is on a split of the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn
from torch.nn import functional as F

Batch = tuple[torch.Tensor, torch.Tensor]


class EvaluationData(Protocol):
    """What evaluation asks of the data."""

    def evaluation(self, split: str) -> Iterator[Batch]: ...


@dataclass(frozen=True)
class Measured:
    """A network on one split: mean cross-entropy, accuracy in 0..1, and which images were right."""

    loss: float
    accuracy: float
    correct: torch.Tensor


def evaluate(net: nn.Module, data: EvaluationData, split: str) -> Measured | None:
    """Measure the network on a split, in evaluation mode; None where the split is empty."""
    was_training = net.training
    net.eval()
    loss, correct = 0.0, []
    with torch.inference_mode():
        for images, labels in data.evaluation(split):
            logits = net(images)
            loss += F.cross_entropy(logits, labels, reduction="sum").item()
            correct.append((logits.argmax(1) == labels).cpu())
    net.train(was_training)
    if not correct:
        return None
    right = torch.cat(correct)
    return Measured(loss / len(right), int(right.sum()) / len(right), right)
