"""Transfer: a ticket that was found elsewhere, trained here."""

from __future__ import annotations

import json
import os
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from methods import method
from methods.bench import Ticket, Workbench
from methods.head import with_own_head, with_whole_head

FILE = "ticket.safetensors"
"""Of a trial's folder."""


class Transfer(method.Method):
    """Take a ticket from its file, give it a fresh classifier for this data set's classes, and train it."""

    name = "transfer"
    ticket = "initial"
    summary = "a ticket found on another data set, with a fresh classifier"
    paper = "Morcos et al., One Ticket to Win Them All, NeurIPS 2019"
    uses_data = False
    cost = "one training"
    per_sparsity = False
    meets_budget = False
    prunes = "elsewhere"

    class Options(method.Options):
        ticket: str = Field(min_length=1)
        """The folder of a trial of any sweep, its ticket.safetensors, or a .safetensors file that `jackpot export`
        wrote."""
        weights: Literal["start", "trained"] = "start"
        """What is trained here: the weights that the ticket was trained from there, or those after it. An exported file
        holds the trained ones alone."""

        @property
        def path(self) -> Path:
            """The ticket's file."""
            path = Path(self.ticket)
            return path / FILE if os.path.isdir(path) else path  # False too for what is too long for a path

        def about(self) -> dict[str, Any]:
            """What the file says of itself: `provenance`, `structure` and `layers` (name: shape). Raises ValueError
            where it is no ticket, or has not got the weights that are asked for."""
            from safetensors import SafetensorError, safe_open

            try:
                with safe_open(self.path, framework="pt") as file:
                    said = {key: json.loads((file.metadata() or {})[key]) for key in ("provenance", "structure")}
                    names = list(file.keys())
                    masks = [name for name in names if name.startswith("mask/")]
                    said["layers"] = {name[5:]: tuple(file.get_slice(name).get_shape()) for name in masks}
            except OSError as error:
                raise ValueError(f"ticket: {self.path} cannot be read ({error}); name a trial's folder") from error
            except (SafetensorError, KeyError, ValueError, RecursionError) as error:
                raise ValueError(
                    f"ticket: {self.path} is no ticket ({error}); name a trial's folder, or a .safetensors file that "
                    "`jackpot export` wrote"
                ) from error
            if self.weights == "start" and not any(name.startswith("start/") for name in names):
                raise ValueError(
                    f"weights: {self.path} is an exported file, which holds the trained weights alone; set `weights: "
                    "trained`, or name the trial's folder"
                )
            return said

    def sparsities(self, wanted: list[Decimal]) -> list[Decimal]:
        """The ticket's own sparsity, whatever the sweep's are. ValueError where its file is none."""
        provenance = self.options.about()["provenance"]
        try:
            return [Decimal(str(provenance["sparsity"]))]
        except (TypeError, KeyError, InvalidOperation) as error:
            raise ValueError(f"ticket: {self.options.path} does not say its sparsity; name a trial's folder") from error

    def find(self, bench: Workbench) -> Ticket:
        """The ticket's weights and masks with this data set's classifier, dense where the classes differ."""
        about = self.options.about()
        channels, *_ = about["structure"]["input"]["shape"]
        if channels != bench.shape[0]:
            raise ValueError(
                f"ticket: {self.options.ticket} takes images of {channels} channels, and these have {bench.shape[0]}; "
                "use data of as many"
            )
        own = {layer.name: layer.shape for layer in bench.layers}
        for name, shape in about["layers"].items():
            if name not in own or shape[2:] != own[name][2:]:
                raise ValueError(
                    f"ticket: {self.options.ticket} is of another network ({about['structure']['network']['name']}; "
                    f"layer {name!r} of shape {shape}); name that one as `model`"
                )
        classes = len(about["structure"]["classes"])
        path = str(self.options.path)
        found = bench.given(path, "start" if self.options.weights == "start" else "weight")
        weights = bench.compute(with_own_head, bench.initialise(), found, classes=classes)
        return Ticket(weights, bench.compute(with_whole_head, bench.given(path, "mask"), classes=classes))
