"""A network as a program that runs without its Python source: torch.export's, and ONNX made from it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from orchestrator.engine.seeds import generator
from orchestrator.engine.tracing import TraceError, first_line, quietly, traced


class ExportError(ValueError):
    """A ticket cannot be exported as asked; the message says why and what to do."""


class FromPixels(nn.Module):
    """A network that takes uint8 pixels (N, C, H, W) and normalises them itself, as in training."""

    factor: torch.Tensor
    offset: torch.Tensor

    def __init__(self, net: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.net = net
        means, stds = (torch.tensor(each, dtype=torch.float64).reshape(-1, 1, 1) for each in (mean, std))
        self.register_buffer("factor", (1 / (255 * stds)).float())
        self.register_buffer("offset", (-means / stds).float())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Pixels 0..255 (N, C, H, W) -> logits (N, classes)."""
        return self.net(images * self.factor + self.offset)


def trace(net: nn.Module, shape: tuple[int, int, int], dtype: torch.dtype) -> torch.export.ExportedProgram:
    """The network in eval mode as a program for any number of images of `shape` (C, H, W), tried on one and on three.
    Raises ExportError where it cannot be traced, or where the program gives other logits."""
    name = type(net.net if isinstance(net, FromPixels) else net).__name__
    drawn = torch.randn(3, *shape, generator=generator(0, "export"))
    images = drawn if dtype.is_floating_point else (drawn * 64 + 128).clamp(0, 255).to(dtype)
    try:
        return traced(net, images, name)
    except TraceError as error:
        raise ExportError(f"{error}; or export it as .safetensors, which needs no program") from error


def to_pt2(program: torch.export.ExportedProgram, texts: Mapping[str, str]) -> bytes:
    """The content of a .pt2 file, with each text as an extra file NAME.json in it."""
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={f"{name}.json": text for name, text in texts.items()})
    return content.getvalue()


def to_onnx(program: torch.export.ExportedProgram, texts: Mapping[str, str]) -> bytes:
    """The content of an ONNX file with input `images` and output `logits`, and the texts as its metadata. Raises
    ExportError where ONNX has no operator for what the network does, or no room for its weights."""
    images = program.example_inputs[0]
    try:
        with quietly():
            made: Any = torch.onnx.export(
                program,
                images,
                dynamo=True,
                verbose=False,
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
        model = made.model_proto
        for name, text in texts.items():
            entry = model.metadata_props.add()
            entry.key, entry.value = name, text
        return model.SerializeToString()
    except Exception as error:  # whatever the exporter raises
        raise ExportError(
            f"cannot be written as ONNX ({type(error).__name__}: {first_line(error)}); export it as .pt2 or "
            ".safetensors"
        ) from error
