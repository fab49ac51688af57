"""A network's forward pass as a flat graph of operations, by torch.export."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

TOLERANCE = 1e-5
"""By how much a program's logits may differ from the network's: absolutely, and relatively where they are above 1,
because float32 holds no more."""


class TraceError(ValueError):
    """torch.export cannot make a program of a network; the message says why, not what to do instead."""


def traced(net: nn.Module, images: torch.Tensor, name: str) -> torch.export.ExportedProgram:
    """The network in eval mode as a program for any number of images, tried on all the `images` (three or more, of
    the network's device) and on one of them. `name` is what an error calls the network. Raises TraceError where it
    cannot be traced, or where the program gives other logits."""
    try:
        with quietly():
            program = torch.export.export(net, (images[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
            run = program.module()
            for some in (images, images[:1]):
                with torch.no_grad():
                    torch.testing.assert_close(run(some), net(some), rtol=TOLERANCE, atol=TOLERANCE)
    except Exception as error:  # whatever torch's tracing, or a user's forward in it, raises
        raise TraceError(
            f"{name}: torch.export cannot make a program of it that takes any number of images "
            f"({type(error).__name__}: {first_line(error)}); its forward must be the same operations for every input"
        ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


@contextmanager
def quietly() -> Iterator[None]:
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


def first_line(error: BaseException) -> str:
    """What an exception says first."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
