"""Bytes that one forward pass of a network takes."""

from __future__ import annotations

import itertools
import json
import tempfile
from pathlib import Path

import torch
from torch import nn


def peak_bytes(net: nn.Module, images: torch.Tensor) -> int:
    """Bytes of one forward pass at its peak: parameters and buffers, images, and what the pass allocates."""
    held = {tensor.data_ptr(): tensor.nbytes for tensor in [*net.parameters(), *net.buffers(), images]}
    with torch.inference_mode():
        net.eval()
        net(images)  # what is allocated once for all passes does not count
        allocated = _allocated_on_gpu(net, images) if images.is_cuda else _allocated(net, images)
    return sum(held.values()) + allocated


def _allocated_on_gpu(net: nn.Module, images: torch.Tensor) -> int:
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    net(images)
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _allocated(net: nn.Module, images: torch.Tensor) -> int:
    """By torch's profiler, which hears of every allocation."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        net(images)
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    changes = sorted((event["ts"], event["args"]["Bytes"]) for event in events if event.get("name") == "[memory]")
    return max(0, *itertools.accumulate(change for _, change in changes), 0)
