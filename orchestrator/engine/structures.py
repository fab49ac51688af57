"""The latency of a trial's network, in each runtime: measured once for each distinct structure and device type, read
ever after."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from torch import fx, nn

from methods.bench import Tensors
from orchestrator.engine import latency, nets, runtimes
from orchestrator.engine.compact import Compact, compacted, in_channels_last
from orchestrator.engine.files import digest
from orchestrator.engine.latency import Timed
from orchestrator.engine.nets.copies import load_values
from orchestrator.engine.nets.fitted import fitted, structure_of
from orchestrator.engine.nets.placing import placed
from orchestrator.engine.peak_memory import peak_bytes
from orchestrator.engine.seeds import generator
from orchestrator.engine.setting import STAGE_VERSION, Setting
from orchestrator.engine.speed import why

log = logging.getLogger(__name__)

Record = dict[str, Any]


@dataclass(frozen=True)
class Ready:
    """A runtime that is ready to be timed at a batch size, and what is known of it already."""

    record: Record
    """With the `error` where it does not run."""
    timed: Timed | None = None
    """None where it does not run, or is the dense network itself."""


class Subject:
    """A network to be measured: the one in a setting that has these weights."""

    def __init__(self, setting: Setting, weights: Tensors, device: torch.device) -> None:
        self.setting, self.weights, self.device = setting, weights, device
        self.structure = structure_of(weights)

    @cached_property
    def compact(self) -> Compact:
        """The network without the channels that its mask has emptied. Raises ValueError where it cannot be traced."""
        return compacted(self.network().to(self.device), self.setting.data.shape)

    @cached_property
    def is_dense(self) -> bool:
        """Whether it has the dense network's structure: whatever was removed is masked."""
        return self.structure == structure_of(self.setting.skeleton)

    def key(self, runtime: str) -> str:
        """Names the latency in a runtime on this type of device: not the data, not the weights' values but for the
        channels that they leave empty, not the machine. Raises ValueError where it can run nowhere here: its software
        is missing, or the network cannot be traced."""
        named = {
            "kind": "measure",
            "version": STAGE_VERSION,
            "model": self.setting.identity["model"],
            "images": self.setting.data.shape,
            "structure": self.structure,
            "latency": {key: value for key, value in self.setting.latency.items() if key != "runtimes"},
            "runtime": runtime,
            "software": runtimes.software(runtime),
            **latency.conditions(self.device),
        }
        return digest(named if runtime == "dense" else named | {"compact": self.compact.structure})

    def prepare(self, runtime: str) -> list[Ready]:
        """It in a runtime at each batch size, its outputs checked against those of the network in eager torch."""
        return [self._prepare(runtime, batch) for batch in self.setting.spec.latency.batches]

    def _prepare(self, runtime: str, batch: int) -> Ready:
        record = self._about(runtime, batch)
        if runtime == "dense" and self.is_dense:
            return Ready(record)
        try:
            images, own = self.images(batch), self.own(batch)
            if runtime == "dense":
                return Ready(record, Timed(own, images))
            timed, seconds = runtimes.prepared(runtime, self._compact(eager=runtime == "compact", batch=batch), images)
            record["prepare_seconds"] = seconds
            record["difference"] = runtimes.checked(timed, own, images)
            return Ready(record, timed)
        except (runtimes.Unavailable, RuntimeError) as error:  # out of memory, or an operation this device has not
            return Ready(record | {"error": _said(error)})

    def measure(self, ready: Sequence[Ready]) -> list[Record]:
        """A record each: see `latency.measure`, and the conditions under which it was taken. What is ready at one
        batch size runs in turn. Where one does not run (its memory is not there) the record holds the `error`."""
        return [record for own in _by_batch(ready) for record in self._measure(own)]

    def _measure(self, ready: Sequence[Ready]) -> Iterator[Record]:
        """The same of one batch size."""
        batch = ready[0].record["batch"]
        others = {each.record["runtime"]: each.timed for each in ready if each.timed is not None}
        found: dict[str, Record] = {}
        error = {}
        try:
            if any("error" not in each.record for each in ready):
                images = self.images(batch)
                dense, control = (Timed(self._placed(self._built(), batch > 1), images) for _ in range(2))
                # the name "dense" is the dense network's own there
                named = {f"runtime {name}": timed for name, timed in others.items()}
                found = latency.measure(dense, control, named, self.setting.spec.latency.seconds)
        except RuntimeError as reason:  # out of memory
            error = {"error": _said(reason)}
        for each in ready:
            runtime = each.record["runtime"]
            record = each.record | ({} if "error" in each.record else error)
            if "error" not in record:
                record |= found["dense" if each.timed is None else f"runtime {runtime}"]
                if runtime in ("dense", "compact"):  # of another runtime's allocations torch hears nothing
                    net, images = each.timed or dense
                    record["peak_mb"] = peak_bytes(net, images) / 1e6
            record |= latency.conditions(self.device) | latency.surroundings() | {"host": socket.gethostname()}
            log.info("latency of batches of %d, %s: %s", batch, runtime, _shown(record))
            yield record | {"why": why(record)}

    def unchanged(self, dense: Sequence[Record]) -> list[Record]:
        """The records of the runtime `compact` where no channel could be removed: those of `dense`."""
        found = [{**record, **self._about("compact", record["batch"])} for record in dense]
        return [record | {"why": why(record)} for record in found]

    def impossible(self, runtime: str, error: Exception) -> list[Record]:
        """The records of a runtime that cannot run at all."""
        records = [
            {"batch": batch, "runtime": runtime, "error": _said(error), "structure": digest(self.structure)}
            for batch in self.setting.spec.latency.batches
        ]
        return [record | latency.conditions(self.device) | {"why": why(record)} for record in records]

    def _about(self, runtime: str, batch: int) -> Record:
        """What is known before anything is measured."""
        dense, own = self.setting.macs.total, self.setting.macs_of(self.weights).total
        record: Record = {"batch": batch, "runtime": runtime, "software": runtimes.software(runtime)}
        if runtime == "dense":
            return record | {"structure": digest(self.structure), "macs": [own, dense]}
        compact = self.compact
        left = round(own * compact.macs_after / compact.macs_before)
        return record | {
            "structure": digest(compact.structure),
            "macs": [left, dense],
            "channels": [compact.after, compact.before] if compact.changed else None,
        }

    def images(self, batch: int) -> torch.Tensor:
        """Made-up images of a batch, in channels_last."""
        images = torch.randn(batch, *self.setting.data.shape, generator=generator(0, "latency", batch))
        return images.to(self.device, memory_format=torch.channels_last)

    def _built(self) -> nn.Module:
        # the values are anyone's: latency is the structure's
        return nets.build(self.setting.model, len(self.setting.data.classes), self.setting.data.shape, seed=0)

    def network(self) -> nn.Module:
        """The network with its weights, in eval mode."""
        net = self._built()
        if not self.is_dense:
            net = fitted(net, self.weights)
        load_values(net, self.weights)
        return net.eval()

    def own(self, batch: int) -> nn.Module:
        """The network with its weights, in eval mode, where it computes batches of a size."""
        return self._placed(self.network(), batch > 1)

    def _compact(self, eager: bool, batch: int) -> nn.Module:
        """The compact network as a runtime takes it: eager torch, or one that compiles it."""
        small_maps = eager and batch > 1
        if not self.compact.changed:
            return self._placed(self.network(), small_maps)
        net = cast(fx.GraphModule, self.compact.net)
        return net if small_maps else in_channels_last(net)

    def _placed(self, net: nn.Module, small_maps: bool) -> nn.Module:
        return placed(net, self.device, self.setting.data.shape, small_maps=small_maps)


def _by_batch(ready: Sequence[Ready]) -> list[list[Ready]]:
    batches: dict[int, list[Ready]] = {}
    for each in ready:
        batches.setdefault(each.record["batch"], []).append(each)
    return list(batches.values())


def _said(error: Exception) -> str:
    named = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return f"{named}{error}".splitlines()[0]


def _shown(record: Record) -> str:
    if "error" in record:
        return str(record["error"])
    noisy = ", noisy" if record["noisy"] else ""
    return f"{record['ms']:.4g} ms, {record['speedup']:.3f} times as fast as dense{noisy}"
