"""What is known of each tensor of a network: which of its channels do not depend on the image, and which channels of
different tensors can only be removed together."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import fx

NOTHING = torch.zeros(0, dtype=torch.long)


@dataclass
class State:
    """A tensor, as it is for one image."""

    value: torch.Tensor
    """Its values, floating ones in float64: right in the channels that are known, zero in all others."""
    dim: int | None = None
    """The dimension of its channels; None where none of it can be removed."""
    labels: torch.Tensor = NOTHING
    """A label for each channel, (C,), of the classes below."""
    known: torch.Tensor = NOTHING
    """Whether each channel is the same for every image, bool (C,)."""
    constant: bool = False
    """Whether it is made of parameters alone: no image, not even their number."""
    source: fx.Node | None = None
    """For elements of another tensor in an order that has no channels: that tensor,"""
    positions: torch.Tensor | None = None
    """and the position in it of each element."""

    def others(self) -> list[int]:
        """The dimensions beside that of the channels."""
        return [dim for dim in range(self.value.dim()) if dim != self.dim]

    def is_zero(self) -> torch.Tensor:
        """Whether each channel is known to be zero everywhere."""
        return self.known & (self.value == 0).movedim(self.dim or 0, 0).flatten(1).all(1)

    def is_uniform(self) -> torch.Tensor:
        """Whether each channel is known to be the same at all places."""
        flat = self.value.movedim(self.dim or 0, 0).flatten(1)
        return self.known & (flat == flat[:, :1]).all(1)


def regular(value: torch.Tensor, dim: int, labels: torch.Tensor, known: torch.Tensor) -> State:
    """A tensor with channels; what is not known of `value` is set to zero, so that no odd number spreads."""
    shape = [1] * value.dim()
    shape[dim] = -1
    return State(torch.where(known.reshape(shape), value, torch.zeros_like(value)), dim, labels, known)


@dataclass
class Classes:
    """Labels of channels, and which of them stay or go together."""

    count: int = 0
    pairs: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    pinned: list[torch.Tensor] = field(default_factory=list)
    """Labels of channels that must stay."""

    def fresh(self, count: int) -> torch.Tensor:
        """New labels, (count,)."""
        self.count += count
        return torch.arange(self.count - count, self.count)

    def couple(self, some: torch.Tensor, others: torch.Tensor) -> None:
        """Each of `some` stays or goes with the one of `others` at its place."""
        self.pairs.append((some, others))

    def pin(self, labels: torch.Tensor) -> None:
        """These must stay."""
        self.pinned.append(labels)

    def resolve(self) -> torch.Tensor:
        """The class of each label, (count,)."""
        if not self.pairs:
            return torch.arange(self.count)
        rows, columns = (torch.cat([pair[side] for pair in self.pairs]).numpy() for side in (0, 1))
        ones = np.ones(len(rows), dtype=np.int32)
        return torch.from_numpy(
            connected_components(coo_matrix((ones, (rows, columns)), shape=(self.count, self.count)))[1].astype(
                np.int64
            )
        )
