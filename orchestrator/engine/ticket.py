"""A ticket's file: masks and weights, what they are of and where they come from. It can be read, and its network built,
where neither the sweep nor the data are at hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.engine.files import replacing
from orchestrator.engine.results import MEASURED
from orchestrator.spec.code import is_code

if TYPE_CHECKING:
    from torch import nn

    from methods.bench import Tensors
    from orchestrator.engine.setting import Setting

FILE = "ticket.safetensors"
"""Its name in the trial's folder."""
FORMAT = "jackpot-ticket-1"
PARTS = ("mask", "start", "weight")
PROVENANCE = ("trial", "key", "sweep", "model", "method", "label", "options", "sparsity", "seed", "data", "versions")
"""What a ticket knows of its trial's result."""
OF_A_MACHINE = ("cost/", *MEASURED)
"""How metrics begin that differ between two runs of one trial, and so have no place in a ticket."""


class TicketError(ValueError):
    """A file that is no ticket, is damaged, or whose network cannot be built; the message says what to do."""


@dataclass(frozen=True)
class LoadedTicket:
    """A ticket read from its file."""

    masks: Tensors = field(repr=False)
    """Layer -> bool mask, True is kept."""
    start: Tensors = field(repr=False)
    """State dict that the ticket is trained from."""
    weights: Tensors = field(repr=False)
    """State dict of the trained ticket."""
    provenance: dict[str, Any]
    """Trial, sweep, network, method with options, sparsity, seed; `stages`, the hashes of the stages that made it;
    recipe, versions, the data's fingerprint, and `metrics` such as accuracy/test."""
    structure: dict[str, Any] = field(repr=False)
    """`network`: name and options; `input`: shape (C, H, W) of an image, mean and std of each channel of values in
    0..1; `classes`: their names."""
    trusted: bool = field(default=True, repr=False)
    """Whether its network may be a `module:factory`: that is code, which runs when the network is built. A file that is
    read is not trusted, unless whoever reads it says so."""

    def network(self) -> nn.Module:
        """The trained network, ready to run (eval mode, on the CPU). Takes images float32 (N, C, H, W), normalised;
        gives logits (N, classes). Raises TicketError where the network cannot be built or the weights do not fit."""
        from orchestrator.engine.nets import ModelError
        from orchestrator.engine.nets.copies import load_values
        from orchestrator.engine.nets.fitted import fitted

        try:
            net = fitted(self.dense_network(), self.weights, tuple(self.structure["input"]["shape"]))
            load_values(net, self.weights)
        except TicketError:
            raise
        except ModelError as error:
            raise TicketError("; ".join(message for _, message in error.problems)) from error
        except (RuntimeError, ValueError) as error:
            raise TicketError(f"the weights do not fit the network: {' '.join(str(error).split())}") from error
        return net.eval()

    def dense_network(self) -> nn.Module:
        """The network as it was before anything was removed from it, untrained. Raises ModelError, or TicketError where
        it is code that is not trusted."""
        from orchestrator.engine.nets import build
        from orchestrator.spec.models import Model

        shape, classes = self.structure["input"]["shape"], len(self.structure["classes"])
        name = str(self.structure["network"]["name"])
        if is_code(name) and not self.trusted:
            raise TicketError(
                f"the ticket's network is code, {name!r}, which runs when it is built; if you trust the ticket's "
                "author, say --allow-code (from Python: allow_code=True)"
            )
        # the trial's own seed: a network may draw more than its weights
        return build(Model.model_validate(self.structure["network"]), classes, tuple(shape), self.provenance["seed"])


def write_ticket(path: Path, ticket: LoadedTicket) -> None:
    """Write a ticket's file: "mask/LAYER", "start/PARAMETER" and "weight/PARAMETER", with provenance and structure as
    JSON in its metadata, and a checksum over all of them. Whole or not at all."""
    from orchestrator.engine.store import save

    parts = zip(PARTS, (ticket.masks, ticket.start, ticket.weights), strict=True)
    tensors = {f"{part}/{name}": value for part, named in parts for name, value in named.items()}
    texts = {"provenance": json.dumps(ticket.provenance), "structure": json.dumps(ticket.structure)}
    with replacing(path) as temporary:
        save(tensors, temporary, {"format": FORMAT, **texts, "sha256": _seal(tensors, texts.values())})


def read_ticket(path: Path, allow_code: bool = False) -> LoadedTicket:
    """Read a ticket's file. `allow_code`: its network may be a `module:factory`, which is imported when it is built.
    Raises FileNotFoundError, or TicketError for a file that is no ticket or is damaged."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise FileNotFoundError(f"{path}: no ticket here; a trial that is done keeps it as ticket.safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    except SafetensorError as error:
        raise TicketError(f"{path}: not a safetensors file ({error})") from error
    if metadata.get("format") != FORMAT:
        raise TicketError(f"{path}: not a Jackpot ticket")
    texts = [metadata.get(name, "") for name in ("provenance", "structure")]
    if _seal(tensors, texts) != metadata.get("sha256"):
        raise TicketError(
            f"{path}: is damaged, its content does not match its checksum; copy it again, or remove it and the "
            "result.json beside it and run the sweep again"
        )
    parts: dict[str, Tensors] = {part: {} for part in PARTS}
    for name, value in tensors.items():
        part, _, key = name.partition("/")
        parts[part][key] = value
    provenance, structure = map(json.loads, texts)
    masks, start, weights = parts.values()
    return LoadedTicket(masks, start, weights, provenance, structure, trusted=allow_code)


def read_part(path: Path, part: str) -> Tensors:
    """One of PARTS of a ticket's file, or of a .safetensors file that was exported, which holds trained weights under
    their own names. Raises FileNotFoundError, or TicketError for a file that is no ticket or is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise TicketError(f"{path}: not a safetensors file ({error})") from error
    if any(name.startswith("start/") for name in tensors):
        ticket = read_ticket(path)  # which looks at the checksum
        return dict(zip(PARTS, (ticket.masks, ticket.start, ticket.weights), strict=True))[part]
    named = {name: value for name, value in tensors.items() if "/" not in name}
    masks = {name.removeprefix("mask/"): value for name, value in tensors.items() if name.startswith("mask/")}
    return {"mask": masks, "weight": named}[part]


def _seal(tensors: Tensors, texts: Iterable[str]) -> str:
    """SHA-256 over texts and over the tensors' names, types, shapes and values."""
    import torch

    sealed = hashlib.sha256(json.dumps(list(texts)).encode())
    for name, value in sorted(tensors.items()):
        plain = value.detach().cpu().contiguous()
        sealed.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        sealed.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return sealed.hexdigest()


def provenance(result: Mapping[str, Any], setting: Setting) -> dict[str, Any]:
    """What a ticket says of where it comes from, given its trial's result."""
    return {
        **{name: result[name] for name in PROVENANCE},
        "stages": [stage["key"] for stage in result["chain"]],
        "recipe": setting.recipe,
        "data_fingerprint": setting.data.fingerprint,
        "network_source": setting.identity["model"]["source"],
        "metrics": {n: value for n, value in result["metrics"].items() if not n.startswith(OF_A_MACHINE)},
    }


def structure(setting: Setting) -> dict[str, Any]:
    """What has to be known of a setting to build its network again and to feed it."""
    data = setting.data
    return {
        "network": {"name": setting.model.name, **setting.model.options},
        "input": {"shape": list(data.shape), "mean": list(data.mean), "std": list(data.std)},
        "classes": list(data.classes),
    }
