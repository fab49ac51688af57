"""The latency of a trial's network: measured once for each distinct structure and device type, read ever after."""

from __future__ import annotations

import logging
import socket
from typing import Any

import torch
from torch import nn

from methods.bench import Tensors
from orchestrator.engine import latency, nets
from orchestrator.engine.files import digest
from orchestrator.engine.nets.fitted import fitted, structure_of
from orchestrator.engine.nets.placing import placed
from orchestrator.engine.seeds import generator
from orchestrator.engine.setting import STAGE_VERSION, Setting

log = logging.getLogger(__name__)

NAMES = {
    "ms": "latency/ms",
    "dense_ms": "latency/dense_ms",
    "speedup": "latency/speedup",
    "peak_mb": "memory/peak_mb",
}
"""What of a record is a metric, and its name before "/b" and the batch size."""


def structure_key(setting: Setting, weights: Tensors, device: torch.device) -> str:
    """Names the latency of the network in these weights' shapes on this type of device: not the data, not the
    weights' values, not the machine."""
    return digest(
        {
            "kind": "measure",
            "version": STAGE_VERSION,
            "model": setting.identity["model"],
            "images": setting.data.shape,
            "structure": structure_of(weights),
            "latency": setting.latency,
            **latency.conditions(device),
        }
    )


def measure_structure(setting: Setting, weights: Tensors, device: torch.device) -> list[dict[str, Any]]:
    """A record for each batch size: see `latency.measure`, and the conditions under which it was taken. Where a
    batch does not run (its memory is not there) the record holds the `error` instead of numbers."""
    structure = digest(structure_of(weights))
    own = structure != digest(structure_of(_net(setting, device).state_dict()))
    records = []
    for batch in setting.spec.latency.batches:
        images = torch.randn(batch, *setting.data.shape, generator=generator(0, "latency", batch))
        images = images.to(device, memory_format=torch.channels_last)
        record: dict[str, Any] = {"batch": batch}
        try:
            dense, control = _net(setting, device), _net(setting, device)
            net = placed(fitted(_net(setting, device), weights), device, setting.data.shape) if own else None
            record |= latency.measure(dense, control, net, images, setting.spec.latency.seconds)
        except RuntimeError as error:  # out of memory, or an operation this device does not have
            record["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
        record |= {"structure": structure, "host": socket.gethostname()}
        records.append(record | latency.conditions(device) | latency.surroundings())
        log.info("latency of batches of %d: %s", batch, _said(record))
    return records


def latency_metrics(records: list[dict[str, Any]]) -> dict[str, float]:
    """The records' numbers under their metric names: latency/ms/b1, memory/peak_mb/b64, ..."""
    return {
        f"{name}/b{record['batch']}": record[field]
        for record in records
        for field, name in NAMES.items()
        if field in record
    }


def _net(setting: Setting, device: torch.device) -> nn.Module:
    # the values are anyone's: latency is the structure's
    net = nets.build(setting.model, len(setting.data.classes), setting.data.shape, seed=0)
    return placed(net, device, setting.data.shape)


def _said(record: dict[str, Any]) -> str:
    if "error" in record:
        return record["error"]
    noisy = ", noisy" if record["noisy"] else ""
    return f"{record['ms']:.4g} ms, {record['speedup']:.3f} times as fast as dense{noisy}"
