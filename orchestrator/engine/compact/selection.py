"""The pass backward: which channels must stay, because something that stays reads them and does not know them."""

from __future__ import annotations

import torch
from torch import fx

from orchestrator.engine.compact.analysis import Analysis, Reader


class Selection:
    """Which channels of each tensor stay."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.classes = analysis.classes.resolve()
        self.live = torch.zeros(int(self.classes.max()) + 1 if len(self.classes) else 0, dtype=torch.bool)
        """Whether each class stays."""
        for labels in analysis.classes.pinned:
            self._keep(labels)
        self._spread()

    def of(self, node: fx.Node) -> torch.Tensor:
        """Whether each channel of a tensor with channels stays, bool (C,)."""
        return self._stays(self.analysis.states[node].labels)

    def is_gone(self, node: fx.Node) -> bool:
        """Whether nothing of a tensor stays, or of that whose elements it holds."""
        state = self.analysis.lists[node][0] if node in self.analysis.lists else self.analysis.states.get(node)
        if state is not None and state.source is not None:
            return self.is_gone(state.source)
        return state is not None and state.dim is not None and not self.of(node).any()

    def is_fixed(self, node: fx.Node) -> bool:
        """Whether all that stays of a tensor is known, so that it need not be computed."""
        state = self.analysis.states.get(node)
        if state is None or state.dim is None or not self.analysis.flat.batched(node):
            return False
        stays = self.of(node)
        return bool(stays.any() and state.known[stays].all())

    def _stays(self, labels: torch.Tensor) -> torch.Tensor:
        return self.live[self.classes[labels]]

    def _keep(self, labels: torch.Tensor) -> None:
        self.live[self.classes[labels]] = True

    def _spread(self) -> None:
        """Until nothing changes: what is read by what stays, and is not known, stays. A map that is to be computed
        needs an input, whatever it is."""
        before = -1
        while before != (before := int(self.live.sum())):
            for reader in reversed(self.analysis.readers):
                if not len(reader.inputs):
                    continue
                read = reader.reads[self._stays(reader.outputs)].any(0) & ~reader.folds
                self._keep(reader.inputs[read])
                if self._lacks_input(reader):
                    self._keep(reader.inputs[:1])

    def _lacks_input(self, reader: Reader) -> bool:
        computed = bool(self._stays(reader.outputs).any()) and not self.is_fixed(reader.node)
        return computed and not self._stays(reader.inputs).any()
