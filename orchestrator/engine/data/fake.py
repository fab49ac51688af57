"""Random images that a network can learn, of any shape and number, in memory."""

from __future__ import annotations

import numpy as np
import torch

from orchestrator.engine.data.dataset import DataSet, array_digest, assemble
from orchestrator.engine.data.moments import moments
from orchestrator.engine.files import digest
from orchestrator.engine.seeds import generator
from orchestrator.spec.data import Fake


def load_fake(data: Fake) -> DataSet:
    """Each class has a random pattern, and each image is the mean of its class's pattern and noise of its own.
    Labels take turns. Raises DataError where a class would have no images."""
    channels, height, width = data.shape
    patterns = torch.randint(
        256, (data.classes, height, width, channels), dtype=torch.uint8, generator=generator(data.seed, "fake pattern")
    )
    splits = {}
    for split, count in (("train", data.train), ("test", data.test)):
        labels = np.arange(count) % data.classes
        draw = generator(data.seed, "fake", split)
        images = torch.randint(256, (count, height, width, channels), dtype=torch.uint8, generator=draw)
        images.bitwise_right_shift_(1).add_(patterns.bitwise_right_shift(1)[torch.from_numpy(labels)])
        splits[split] = images.numpy(), labels
    content = digest([array_digest(images) for images, _ in splits.values()])
    classes = [str(label) for label in range(data.classes)]
    return assemble(data, classes, splits["train"], splits["test"], moments(splits["train"][0]), content)
