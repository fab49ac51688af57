"""Magnitude pruning before training."""

from __future__ import annotations

from methods import magnitude, method
from methods.bench import Ticket, Workbench


class MagnitudeInit(method.Method):
    """Keep the largest |w| of the initial weights."""

    name = "magnitude_init"
    ticket = "initial"
    summary = "largest |w| at initialisation, global or layer-wise"
    paper = "Frankle et al., Pruning Neural Networks at Initialization: Why Are We Missing the Mark?, ICLR 2021"
    uses_data = False
    cost = "one training"
    Options = magnitude.Options

    def find(self, bench: Workbench) -> Ticket:
        """Initial weights under their own magnitudes' masks."""
        every = {layer.name: layer.weights for layer in bench.layers}
        keep, dense = magnitude.counts(self.options, bench.layers, bench.sparsity, every)
        weights = bench.initialise()
        masks = bench.compute(magnitude.magnitude_masks, weights, bench.dense_masks(), keep=keep, dense=dense)
        return Ticket(weights, masks)
