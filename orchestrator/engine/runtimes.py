"""What runs a network whose latency is measured: eager torch, torch.compile, ONNX Runtime."""

from __future__ import annotations

import copy
import importlib.metadata
import time
from typing import Any, cast

import torch
from torch import nn

from orchestrator.engine.compiling import CannotCompile, compiled, require_compiler, said
from orchestrator.engine.export.program import ExportError, to_onnx, trace
from orchestrator.engine.latency import Timed

TOLERANCE = 1e-4
"""By how much a runtime's outputs may differ from the network's, as a part of the largest: float32 rounds otherwise
where operations are fused, reordered or computed by another algorithm (Winograd)."""
WITHOUT = "leave `compiled` out of latency.runtimes"


class Unavailable(ValueError):
    """A runtime that cannot run a network here; the message says why and what to do."""


def software(runtime: str) -> str:
    """What computes, with its version: a latency holds for that one. Raises Unavailable where it is not installed."""
    if runtime == "onnxruntime":
        try:
            return f"onnxruntime {importlib.metadata.version('onnxruntime')}"
        except importlib.metadata.PackageNotFoundError as error:
            raise Unavailable("onnxruntime is not installed; `pip install onnxruntime`") from error
    if runtime == "compiled":
        try:
            require_compiler(WITHOUT)
        except CannotCompile as error:
            raise Unavailable(str(error)) from error
    return f"torch {torch.__version__} {'inductor' if runtime == 'compiled' else 'eager'}"


def prepared(runtime: str, net: nn.Module, images: torch.Tensor) -> tuple[Timed, float]:
    """A network, placed and in eval mode, ready to be timed in a runtime on images (N, C, H, W) in channels_last, and
    the seconds that it took to make it so.

    `compiled`: by inductor for this batch alone (no dynamic shapes), its weights frozen into the program, with which
    they are laid out as the kernels read them. `onnxruntime`: all graph optimisations, as many threads as torch, images
    in NCHW. Raises Unavailable where it does not run here."""
    began = time.perf_counter()
    if runtime == "onnxruntime":
        found = _onnx(net, images)
    else:
        found = Timed(_compiled(net, images) if runtime == "compiled" else net, images)
    return found, time.perf_counter() - began


def checked(timed: Timed, net: nn.Module, images: torch.Tensor) -> float:
    """The largest difference between the outputs of a runtime and those of the network in eager torch, on the device
    of the images, as a part of the largest output. Raises Unavailable where it is above 1e-4."""
    with torch.inference_mode():
        wanted = net(images)
        found = timed.net(timed.images)
        off = float((found.to(wanted.device) - wanted).abs().max() / wanted.abs().max().clamp_min(1e-12))
    if not off <= TOLERANCE:  # also NaN
        raise Unavailable(
            f"its outputs differ from the network's by {off:.2g} of the largest, more than {TOLERANCE:g}; leave it out "
            "of latency.runtimes"
        )
    return off


def _compiled(net: nn.Module, images: torch.Tensor) -> nn.Module:
    torch._dynamo.reset()  # no program that holds the weights of another network of these shapes
    try:
        with torch.inference_mode():
            program, _ = compiled(net, [images], WITHOUT, options={"freezing": True})
    except CannotCompile as error:
        raise Unavailable(str(error)) from error
    return cast(nn.Module, program)


class _Session(nn.Module):
    """A session of ONNX Runtime as a module: images (N, C, H, W), contiguous -> logits (N, classes), no copies."""

    def __init__(self, session: Any, classes: int) -> None:
        super().__init__()
        self.session, self.classes = session, classes
        self.binding = session.io_binding()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        import numpy as np

        logits = torch.empty(len(images), self.classes, device=images.device)
        where = images.device.type, images.device.index or 0, np.float32
        self.binding.bind_input("images", *where, tuple(images.shape), images.data_ptr())
        self.binding.bind_output("logits", *where, tuple(logits.shape), logits.data_ptr())
        self.session.run_with_iobinding(self.binding)
        return logits


def _onnx(net: nn.Module, images: torch.Tensor) -> Timed:
    import onnxruntime

    provider = "CUDAExecutionProvider" if images.is_cuda else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise Unavailable(f"this onnxruntime has no {provider}; `pip install onnxruntime-gpu` in its place")
    shape = images.shape[1], images.shape[2], images.shape[3]
    try:
        program = trace(copy.deepcopy(net).cpu(), shape, torch.float32)
        content = to_onnx(program, {})
    except ExportError as error:
        raise Unavailable(str(error)) from error
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.add_free_dimension_override_by_name("batch", len(images))
    # its threads wait for work in a loop, beside the other networks, whose turn it is
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=[provider])
    except Exception as error:  # its own, of many kinds
        raise Unavailable(f"onnxruntime cannot load the network ({said(error)})") from error
    with torch.inference_mode():
        classes = net(images[:1]).shape[1]
    return Timed(_Session(session, classes), images.contiguous())
