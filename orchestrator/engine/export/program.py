"""A network as a program that runs without its Python source: torch.export's, and ONNX made from it."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from orchestrator.engine.seeds import generator

TOLERANCE = 1e-5
"""By how much a program's logits may differ from the network's: absolutely, and relatively where they are above 1,
because float32 holds no more."""


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
        with _quiet():
            program = torch.export.export(net, (images[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
            run = program.module()
            for some in (images, images[:1]):
                with torch.no_grad():
                    torch.testing.assert_close(run(some), net(some), rtol=TOLERANCE, atol=TOLERANCE)
    except Exception as error:  # whatever torch's tracing, or a user's forward in it, raises
        raise ExportError(
            f"{name}: torch.export cannot make a program of it that takes any number of images "
            f"({type(error).__name__}: {_first_line(error)}); its forward must be the same operations for every input; "
            "or export it as .safetensors, which needs no program"
        ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


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
        with _quiet():
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
            f"cannot be written as ONNX ({type(error).__name__}: {_first_line(error)}); export it as .pt2 or "
            ".safetensors"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporters print and warn of: what matters of it comes as an error."""
    before = logging.root.manager.disable
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
