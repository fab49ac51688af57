"""Random changes of training images, each drawn from a generator on the CPU for a whole batch at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from orchestrator.engine.data.sending import sent

RATIOS = (3 / 4, 4 / 3)
"""Width over height that a random cut may have."""

TRIES = 10
"""How often a cut that does not fit is drawn again before the middle of the image is taken."""


def crop(images: torch.Tensor, padding: int, generator: torch.Generator) -> torch.Tensor:
    """Pad each image (N, H, W, C) with `padding` black pixels a side and cut its size out again, at a place
    drawn uniformly for each: torchvision's RandomCrop(size, padding) on a whole batch."""
    count, height, width, channels = images.shape
    padded = images.new_zeros(count, height + 2 * padding, width + 2 * padding, channels)
    padded[:, padding : padding + height, padding : padding + width] = images
    top, left = sent(torch.randint(2 * padding + 1, (2, count), generator=generator), images.device)
    # a view of every window of every image: picking one of each copies nothing else, whole rows at a time
    image, row, column, _ = padded.stride()
    places = 2 * padding + 1
    windows = padded.as_strided((count, places, places, height, width * channels), (image, row, column, row, 1))
    picked = windows[torch.arange(count, device=images.device), top, left]
    return picked.view(images.shape)


def flip(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror each image (N, H, W, C) left to right with probability 1/2."""
    mirror = sent(torch.rand(len(images), generator=generator) < 0.5, images.device)
    return torch.where(mirror[:, None, None, None], images.flip(2), images)


@dataclass(frozen=True)
class Cuts:
    """A random part of each of N images, whatever their sizes."""

    drawn: np.ndarray
    """Uniform numbers, float64 (N, 10, 4), that `cut` makes each part from."""
    scale: tuple[float, float]
    """Least and greatest share of the image's area."""

    @classmethod
    def draw(cls, count: int, scale: tuple[float, float], generator: torch.Generator) -> Cuts:
        """Cuts for `count` images."""
        return cls(torch.rand(count, TRIES, 4, generator=generator, dtype=torch.float64).numpy(), scale)

    def of(self, image: int, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width of the part of one image of this size."""
        return cut(self.drawn[image], height, width, self.scale)


def cut(drawn: np.ndarray, height: int, width: int, scale: tuple[float, float]) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random part of an image, from uniform numbers (10, 4): its share of the
    area is uniform in `scale`, the logarithm of width over height in that of 3/4 to 4/3, its place uniform. The
    rule of torchvision's RandomResizedCrop: a part that does not fit is drawn again, and after ten the greatest
    one in the middle with an allowed shape is taken."""
    low, high = (math.log(ratio) for ratio in RATIOS)
    for share, shape, down, across in drawn:
        area = height * width * (scale[0] + share * (scale[1] - scale[0]))
        ratio = math.exp(low + shape * (high - low))
        wide, tall = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < tall <= height:
            return int(down * (height - tall + 1)), int(across * (width - wide + 1)), tall, wide
    wide, tall = min(width, round(height * RATIOS[1])), min(height, round(width / RATIOS[0]))
    return (height - tall) // 2, (width - wide) // 2, tall, wide


def cut_and_resize(images: torch.Tensor, scale: tuple[float, float], generator: torch.Generator) -> torch.Tensor:
    """Cut a random part out of each image uint8 (N, H, W, C) and resize it to the image's size, bilinearly."""
    count, height, width, _ = images.shape
    cuts = Cuts.draw(count, scale, generator)
    parts = [cuts.of(image, height, width) for image in range(count)]
    top, left, tall, wide = sent(torch.tensor(parts, dtype=torch.float32), images.device).T[..., None]
    # each pixel's centre in its part; not beyond the part, whose edges repeat
    rows = top + ((torch.arange(height, device=images.device) + 0.5) * tall / height - 0.5).clamp(min=0)
    columns = left + ((torch.arange(width, device=images.device) + 0.5) * wide / width - 0.5).clamp(min=0)
    rows, columns = torch.minimum(rows, top + tall - 1), torch.minimum(columns, left + wide - 1)
    grid = torch.stack(torch.broadcast_tensors(columns[:, None, :], rows[:, :, None]), dim=-1)
    return _sample(images, grid, "bilinear")


def rotate(images: torch.Tensor, degrees: float, generator: torch.Generator) -> torch.Tensor:
    """Turn each image uint8 (N, H, W, C) about its centre by an angle drawn uniformly up to `degrees` either way,
    each pixel taken from the nearest, black where there is none: torchvision's RandomRotation."""
    count, height, width, _ = images.shape
    angles = torch.empty(count, dtype=torch.float64).uniform_(-degrees, degrees, generator=generator)
    angles = (angles * (math.pi / 180))[:, None, None]
    cosine, sine = sent(angles.cos().float(), images.device), sent(angles.sin().float(), images.device)
    down = torch.arange(height, device=images.device)[None, :, None] - (height - 1) / 2
    across = torch.arange(width, device=images.device)[None, None, :] - (width - 1) / 2
    columns = across * cosine - down * sine + (width - 1) / 2
    rows = across * sine + down * cosine + (height - 1) / 2
    return _sample(images, torch.stack([columns, rows], dim=-1), "nearest")


def _sample(images: torch.Tensor, grid: torch.Tensor, mode: str) -> torch.Tensor:
    """Images uint8 (N, H, W, C) at the places `grid` (N, H, W, 2), column and row in pixels; black outside."""
    height, width = images.shape[1:3]
    sides = torch.tensor([width, height], device=images.device)
    places = (2 * grid + 1) / sides - 1
    values = images.permute(0, 3, 1, 2).float()
    found = F.grid_sample(values, places, mode, padding_mode="zeros", align_corners=False)
    return found.round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
