"""What a ticket is worth before it is trained to its end: the cheap rungs of a search."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from methods.bench import Tensors, Workbench

BATCH, BATCHES = 256, 8
"""Training images that batch norm's averages are measured on: they settle within two thousand."""


def validation_accuracy(bench: Workbench, weights: Tensors, masks: Tensors, recalibrate: bool) -> Tensors:
    """Fraction of the validation images that the network of these weights, masked, gets right: {"accuracy": scalar}.
    `recalibrate`: measure batch norm's averages anew first, on training images as they are in training, because those
    of the dense network say nothing of a pruned one (Li et al., EagleEye, ECCV 2020)."""
    masked = dict(weights)
    for layer in bench.layers:
        if layer.name in masks and layer.parameter in masked:
            masked[layer.parameter] = masked[layer.parameter] * masks[layer.name]
    net = bench.net(masked)
    with torch.no_grad():
        if recalibrate:
            _measure_averages(bench, net)
        net.eval()
        right = images = 0
        for batch, labels in bench.images("validation", BATCH):
            right += int((net(batch).argmax(1) == labels).sum())
            images += len(labels)
    return {"accuracy": torch.tensor(right / images, dtype=torch.float64)}


def _measure_averages(bench: Workbench, net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # the plain mean over the batches
    net.train()
    for number, (batch, _) in enumerate(bench.images("train", BATCH)):
        if number == BATCHES:
            break
        if len(batch) > 1:  # batch norm cannot train on one image
            net(batch)
