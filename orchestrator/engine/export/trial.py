"""From a trial to a file that another program can load."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from methods.bench import Tensors
from orchestrator.engine.export.description import describe
from orchestrator.engine.export.program import ExportError, FromPixels, to_onnx, to_pt2, trace
from orchestrator.engine.files import replacing
from orchestrator.engine.finding import find_trial
from orchestrator.engine.nets import ModelError, source_of
from orchestrator.engine.results import why
from orchestrator.engine.store import to_bytes
from orchestrator.engine.ticket import FILE, LoadedTicket, TicketError, read_ticket
from orchestrator.spec.models import Model

SUFFIXES = {".safetensors": "safetensors", ".onnx": "onnx", ".pt2": "pt2"}
"""A file's suffix -> its format."""


@dataclass(frozen=True)
class Exported:
    """A file that was written, and what is in it."""

    path: Path
    format: str
    ticket: LoadedTicket
    with_normalisation: bool


def export_trial(
    trial: str | os.PathLike,
    file: str | os.PathLike,
    *,
    format: str | None = None,
    with_normalisation: bool = False,
    force: bool = False,
    allow_code: bool = False,
) -> Exported:
    """Write a trial's trained ticket into `file`; see `orchestrator.api.export`."""
    path = Path(file)
    chosen = _format(path, format, with_normalisation)
    source = ticket_file(trial)
    _check_target(path, source, force)
    return export_ticket(read_ticket(source, allow_code), path, chosen, with_normalisation)


def export_ticket(ticket: LoadedTicket, path: Path, format: str, with_normalisation: bool = False) -> Exported:
    """Write a ticket as safetensors, onnx or pt2, whole or not at all. Raises TicketError where its network cannot be
    built, ExportError where it cannot be traced or the file not be written."""
    ticket = with_zeros_removed(ticket)
    warn_of_changed_source(ticket)
    net = ticket.network()
    structure = describe(ticket, ticket.dense_network(), net)
    structure["input"] = {
        **structure["input"],
        "dtype": "uint8" if with_normalisation else "float32",
        "values": "pixels 0..255" if with_normalisation else "(pixels / 255 - mean) / std, channel by channel",
    }
    texts = {"structure": json.dumps(structure), "provenance": json.dumps(ticket.provenance)}
    if format == "safetensors":
        masks = {f"mask/{layer}": mask for layer, mask in ticket.masks.items()}
        content = to_bytes(ticket.weights | masks, {"format": "pt", **texts})
    else:
        content = _program(ticket, net, format, with_normalisation, texts)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise ExportError(f"{path}: cannot be written ({error.strerror}); nothing was left half written") from error
    return Exported(path, format, ticket, with_normalisation)


def _program(
    ticket: LoadedTicket, net: nn.Module, format: str, with_normalisation: bool, texts: dict[str, str]
) -> bytes:
    given, dtype = ticket.structure["input"], torch.float32
    if with_normalisation:
        net, dtype = FromPixels(net, given["mean"], given["std"]).eval(), torch.uint8
    program = trace(net, tuple(given["shape"]), dtype)
    return to_onnx(program, texts) if format == "onnx" else to_pt2(program, texts)


def ticket_file(trial: str | os.PathLike) -> Path:
    """The file of a trial's ticket (or the file itself, where `trial` is one). Raises FolderError where there is no
    such trial, TicketError where it has no ticket, with its status."""
    if Path(trial).is_file():
        return Path(trial)
    folder, name = find_trial(trial)
    result, path = folder.result(name), folder.trial(name) / FILE
    if result is None:
        driver = folder.driver()
        running = f"its sweep is running ({driver}), " if driver else ""
        raise TicketError(
            f"{name}: has no result yet, so no ticket; {running}`jackpot status {folder.address}` says how far it is"
        )
    if result["status"] != "done":
        raise TicketError(
            f"{name}: has no ticket, it is {result['status']}: {why(result) or 'no reason was kept'}; "
            f"`jackpot logs {folder.trial(name)}` says all"
        )
    if not path.exists():
        raise TicketError(f"{path}: is gone; remove the result.json beside it and run the sweep again")
    return path


def with_zeros_removed(ticket: LoadedTicket) -> LoadedTicket:
    """The ticket with removed weights exactly zero (training may leave minus zero). Raises TicketError where a mask
    does not fit its weight."""
    weights: Tensors = dict(ticket.weights)
    for layer, mask in ticket.masks.items():
        name = f"{layer}.weight" if layer else "weight"
        if name not in weights or weights[name].shape != mask.shape:
            raise TicketError(f"the mask of layer {layer!r} {tuple(mask.shape)} does not fit the ticket's weights")
        weights[name] = weights[name].masked_fill(~mask, 0)
    return replace(ticket, weights=weights)


def _format(path: Path, asked: str | None, with_normalisation: bool) -> str:
    known = ", ".join(SUFFIXES.values())
    if asked is not None and asked not in SUFFIXES.values():
        raise ExportError(f"unknown format {asked!r}; expected {known}")
    format = asked or SUFFIXES.get(path.suffix.lower())
    if format is None:
        found = f"unknown suffix {path.suffix!r}" if path.suffix else "has no suffix"
        raise ExportError(f"{path}: {found}; expected {', '.join(SUFFIXES)}, or name the format ({known})")
    if with_normalisation and format == "safetensors":
        raise ExportError(
            f"{path}: safetensors holds no program that could normalise; leave normalisation out (mean and std stand "
            "in the file's metadata), or export .onnx or .pt2"
        )
    return format


def _check_target(path: Path, source: Path, force: bool) -> None:
    """Raise ExportError where `path` cannot be written, before any work is done for it."""
    if path.is_dir():
        raise ExportError(f"{path}: is a folder; name a file in it")
    if path.exists() and path.samefile(source):
        raise ExportError(f"{path}: is the trial's own ticket; name another file")
    if path.exists() and not force:
        raise ExportError(f"{path}: exists already; name another file, or have it replaced with --force (force=True)")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ExportError(f"{path}: there is no folder {folder}; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ExportError(f"{path}: the folder {folder} cannot be written to; choose another, or mend its permissions")


def warn_of_changed_source(ticket: LoadedTicket) -> None:
    """A user's own network is built from the source that lies here now, which may compute something else than the one
    that was trained."""
    network = Model.model_validate(ticket.structure["network"])
    try:
        now = source_of(network)
    except ModelError as error:
        raise TicketError("; ".join(message for _, message in error.problems)) from error
    if now != ticket.provenance["network_source"]:
        warnings.warn(
            f"the source of {network.name!r} has changed since the ticket was trained: its logits may be others",
            stacklevel=2,
        )
