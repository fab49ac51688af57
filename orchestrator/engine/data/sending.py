"""Tensors on their way to the device that trains."""

from __future__ import annotations

import torch


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the CPU's on a device. To a GPU it goes from pinned memory, so that nothing waits here for what the
    GPU has still to do: copies from other memory do."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
