"""Mean and standard deviation of images, to normalise with."""

from __future__ import annotations

import numpy as np


def moments(images: np.ndarray, rows: np.ndarray | None = None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of uint8 images (N, H, W, C), of values in 0..1, over
    `rows` (default: all)."""
    rows = np.arange(len(images)) if rows is None else rows
    parts = (images[rows[start : start + 1000]] for start in range(0, len(rows), 1000))
    return moments_of(sum(map(histogram, parts), np.zeros((images.shape[3], 256), np.int64)))


def histogram(images: np.ndarray) -> np.ndarray:
    """How often each channel of uint8 images (N, H, W, C) has each value: int64 (C, 256)."""
    return np.stack([np.bincount(images[..., each].ravel(), minlength=256) for each in range(images.shape[3])])


def moments_of(counts: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of what `histogram` counted. Exact: counted, not summed in floating point. A
    constant channel gets the std of one grey level, so that normalising never divides by zero."""
    levels = np.arange(256) / 255
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ levels
    variance = (shares * (levels - mean[:, None]) ** 2).sum(axis=1)
    std = np.maximum(np.sqrt(variance), 1 / 255)
    return tuple(map(float, mean)), tuple(map(float, std))
