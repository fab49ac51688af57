"""Imprinting: how well the features at some depth tell the classes apart, without any training (Elkerdawy et al.,
"One-Shot Layer-Wise Accuracy Approximation for Layer Pruning", ICIP 2020, and its authors' code)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch.nn import functional as F

from methods.bench import Tensors, Workbench
from methods.structure.signals import hooked

WIDTH = 512
"""Numbers of an embedding, about: features are averaged over as many places as that allows."""


def gains(
    bench: Workbench, weights: Tensors, modules: Sequence[tuple[str, str]], batch: int, batches: int | None
) -> dict[str, float]:
    """Name -> by how much the imprinted accuracy of what comes out of a block is above that of what goes in, for the
    (first module, last module) of each, under the first's name. The weight of a class is the mean embedding of its
    training images, scaled to length 1; the prediction is the largest product. Accuracy is measured on the validation
    images, never on the test images; on the training images where the spec holds none out. In evaluation mode."""
    ends = list(dict.fromkeys(name for own in modules for name in own))
    sums: dict[tuple[str, str], torch.Tensor] = {}
    for images, labels in islice(bench.images("train", batch), batches):
        for key, embedding in _embeddings(bench, weights, ends, images):
            one_hot = F.one_hot(labels, bench.classes).to(embedding)
            sums[key] = sums.get(key, 0) + one_hot.T @ embedding
    classes = {key: F.normalize(value, dim=1) for key, value in sums.items()}
    right, count = dict.fromkeys(classes, 0), 0
    for images, labels in _measured(bench, batch, batches):
        count += len(labels)
        for key, embedding in _embeddings(bench, weights, ends, images):
            right[key] += int(((embedding @ classes[key].T).argmax(1) == labels).sum())
    return {first: (right[last, "output"] - right[first, "input"]) / count for first, last in modules}


def _measured(bench: Workbench, batch: int, batches: int | None) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    held = iter(bench.images("validation", batch))
    first = next(held, None)
    if first is None:
        yield from islice(bench.images("train", batch), batches)
    else:
        yield first
        yield from held


def _embeddings(
    bench: Workbench, weights: Tensors, names: Sequence[str], images: torch.Tensor
) -> list[tuple[tuple[str, str], torch.Tensor]]:
    """The embeddings (N, D) of what goes into each module and comes out of it."""
    found: list[tuple[tuple[str, str], torch.Tensor]] = []

    def look(name: str, module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if name in names:
            found.append(((name, "input"), embedding(inputs[0])))
            found.append(((name, "output"), embedding(output)))

    net = bench.net(weights).eval()
    with hooked(net, look), torch.no_grad():
        net(images)
    return found


def embedding(features: torch.Tensor) -> torch.Tensor:
    """Features (N, C, H, W) averaged over d x d places, d = round(sqrt(512 / C)), as vectors (N, C d d); other features
    as they are, flattened. Float64."""
    if features.dim() == 4 and features.shape[2] * features.shape[3] > 1:
        side = max(1, round((WIDTH / features.shape[1]) ** 0.5))
        features = F.adaptive_avg_pool2d(features, side)
    return features.flatten(1).double()
