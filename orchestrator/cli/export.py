"""jackpot export: a ticket as a file for other programs."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated

import typer

from orchestrator.cli.common import said, wrong

EXAMPLES = (
    "Examples: jackpot export quickstart/convnet_snip_s90_seed0 ticket.onnx | "
    "jackpot export convnet_snip_s90_seed0 ticket.pt2 --with-normalisation"
)


def command(
    trial: Annotated[str, typer.Argument(help="A trial: its folder, SWEEP/TRIAL, or the id of one in ./sweeps.")],
    file: Annotated[
        str,
        typer.Argument(help="The file: .safetensors (masks, weights, structure, provenance), .onnx or .pt2."),
    ],
    format: Annotated[
        str | None, typer.Option("--format", help="safetensors, onnx or pt2, where FILE's suffix does not say it.")
    ] = None,
    with_normalisation: Annotated[
        bool,
        typer.Option(
            "--with-normalisation",
            help="The program takes uint8 pixels and normalises them (default: takes normalised float32 images).",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE where it exists.")] = False,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="The ticket's network may be code (`module:factory`): run it.")
    ] = False,
) -> None:
    """Write a trained ticket into a file that programs without Jackpot can load."""
    from orchestrator.engine.export import ExportError, export_trial
    from orchestrator.engine.ticket import TicketError

    with said(), warnings.catch_warnings(record=True) as caught:
        try:
            made = export_trial(
                trial, file, format=format, with_normalisation=with_normalisation, force=force, allow_code=allow_code
            )
        except (ExportError, TicketError) as error:
            wrong(str(error))
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    about = made.ticket.provenance
    print(f"{file}: {made.format}, {made.path.stat().st_size / 1e6:.2f} MB, ticket of {about['trial']}")
    shape = ", ".join(map(str, made.ticket.structure["input"]["shape"]))
    if made.format != "safetensors":
        kind = "uint8 pixels" if with_normalisation else "normalised float32 images"
        print(f"takes {kind} (N, {shape}), gives logits (N, {len(made.ticket.structure['classes'])})")
