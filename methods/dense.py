"""The dense network: the baseline every ticket is measured against."""

from __future__ import annotations

from methods.bench import Ticket, Workbench
from methods.method import Method


class Dense(Method):
    """Keep every weight. One trial a seed and model, whatever the sparsities."""

    name = "dense"
    ticket = "dense"
    summary = "keep every weight: the baseline"
    paper = ""
    uses_data = False
    cost = "one training"
    per_sparsity = False

    def find(self, bench: Workbench) -> Ticket:
        """The initial weights, nothing removed."""
        return Ticket(bench.initialise(), bench.dense_masks())
