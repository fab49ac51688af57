"""jackpot ratios: preview how many weights each layer keeps, and what a space of layer-wise ratios holds."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.common import print_json, wrong

if TYPE_CHECKING:
    from methods.layers import Layer
    from search_spaces.space import Space

EXAMPLES = (
    "Examples: jackpot ratios --model resnet32 --model-option width=2 --ratio smart --sparsity 0.98 | "
    "jackpot ratios --model resnet20 --space stages --sparsity 0.9"
)
SHOWN = 8
"""Coordinates of a point that fit on a line; a longer one is left to --json."""


def command(
    model: Annotated[str, typer.Option(help="A network, also of torchvision, or module:factory.")],
    ratio: Annotated[
        str | None,
        # a default that leaves the order of the parameters free: the required sparsity follows
        typer.Option(
            default_factory=lambda: None,
            show_default=False,
            help="uniform, balanced, erk, smart, ascend, linear_decay, cubic.",
        ),
    ],
    sparsity: Annotated[str, typer.Option(help="Fraction of the weights to remove, e.g. 0.9.")],
    model_option: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Option of the network.")] = None,
    num_classes: Annotated[int, typer.Option(min=2, help="Outputs of the network.")] = 10,
    input_shape: Annotated[str, typer.Option(help="Channels x height x width of an image.")] = "3x32x32",
    json: Annotated[bool, typer.Option("--json", help="Say it as JSON.")] = False,
    space: Annotated[
        str | None,
        typer.Option(
            help="A space instead: free, polynomial, erk_power, stages, mixture. Without --at: what it holds."
        ),
    ] = None,
    at: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NUMBER", help="A coordinate of the space's point.")
    ] = None,
    space_option: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Option of the space.")] = None,
    ratio_file: Annotated[str | None, typer.Option(help="A JSON file of keep ratios instead: {layer: ratio}.")] = None,
) -> None:
    """Preview the keep ratio and count of every layer, in layer order."""
    from methods import budget
    from methods.layers import is_residual, prunable_layers
    from methods.ratio_file import read_ratios
    from methods.ratios import given_counts, layer_counts
    from orchestrator.engine.nets import ModelError, skeleton
    from orchestrator.spec.models import Model

    given = {"ratio": ratio, "space": space, "ratio_file": ratio_file}
    chosen = {key: value for key, value in given.items() if value is not None}
    if len(chosen) != 1:
        wrong("expected exactly one of --ratio, --space and --ratio-file")
    if (at or space_option) and space is None:
        wrong("--at and --space-option belong to --space; say which space, or leave them out")
    shape, removed = _shape(input_shape), _sparsity(sparsity)
    try:
        net = skeleton(Model(name=model, **_options("--model-option", model_option)), num_classes, shape)
        layers, residual = prunable_layers(net), is_residual(net)
        total = budget.total(layers)
        keep = budget.kept(total, removed)
        if space is not None:
            own = _space(space, layers, residual, _options("--space-option", space_option))
            point = _point(own, at or [])
            counts = own.counts(point, keep) if point else []
        elif ratio_file is not None:
            counts = given_counts(read_ratios(ratio_file), layers, removed)
        else:
            counts = layer_counts(str(ratio), layers, removed, residual=residual)
    except ModelError as error:
        wrong(*(f"--model{'-option' if path != ('name',) else ''}: {message}" for path, message in error.problems))
    except ValueError as error:
        wrong(str(error))
    if not keep:
        wrong(f"--sparsity {sparsity}: keeps none of the {total:,} weights; lower it")
    asked: dict[str, Any] = {"model": model, **chosen, "sparsity": float(removed)}
    if space is None:
        _say_layers(layers, counts, asked, json)
    elif point:
        _say_layers(layers, counts, asked | {"at": point}, json)
    else:
        _say_space(own, asked | {"weights": total, "kept": keep}, _formulas(own, keep), json)


def _say_layers(layers: Sequence[Layer], counts: Sequence[int], asked: dict[str, Any], json: bool) -> None:
    rows = [
        {"name": layer.name, "weights": layer.weights, "kept": kept, "keep_ratio": kept / layer.weights}
        for layer, kept in zip(layers, counts, strict=True)
    ]
    total = sum(layer.weights for layer in layers)
    if json:
        print_json({**asked, "weights": total, "kept": sum(counts), "layers": rows})
        return
    width = max(len(layer.name) for layer in layers)
    print(f"{'layer':<{width}} {'weights':>10} {'kept':>10} {'keep ratio':>10}")
    for row in rows:
        print(f"{row['name']:<{width}} {row['weights']:>10} {row['kept']:>10} {row['keep_ratio']:>10.4f}")
    print(f"{'all':<{width}} {total:>10} {sum(counts):>10} {sum(counts) / total:>10.4f}")


def _say_space(space: Space, asked: dict[str, Any], holds: dict[str, dict[str, float] | None], json: bool) -> None:
    """The coordinates, and where in the space the formulas lie."""
    if json:
        coordinates = {name: list(pair) for name, pair in space.coordinates.items()}
        print_json({**asked, "coordinates": coordinates, "holds": holds})
        return
    print(f"{space.name}: {space.summary}")
    width = max(map(len, space.coordinates))
    for name, (low, high) in space.coordinates.items():
        print(f"  {name:<{width}}  {low:g} to {high:g}")
    print(f"formulas that it holds at sparsity {asked['sparsity']:g}:")
    width = max(map(len, holds))
    for formula, point in holds.items():
        if point is None:
            said = "no"
        elif len(point) > SHOWN:
            said = f"yes ({len(point)} coordinates, see --json)"
        else:
            said = " ".join(f"--at {name}={value:.6g}" for name, value in point.items())
        print(f"  {formula:<{width}}  {said}")


def _formulas(space: Space, keep: int) -> dict[str, dict[str, float] | None]:
    """The point of each formula that goes with the network; None where the space holds none."""
    from methods.ratios import RATIOS, formula_counts
    from search_spaces.space import Inexpressible

    found: dict[str, dict[str, float] | None] = {}
    for name in RATIOS:
        try:
            found[name] = space.point(formula_counts(name, space.layers, keep, residual=space.residual), keep)
        except Inexpressible:
            found[name] = None
        except ValueError:  # a formula that needs to know whether the network is residual, and it does not say
            continue
    return found


def _space(name: str, layers: Sequence[Layer], residual: bool | None, options: dict[str, Any]) -> Space:
    from pydantic import ValidationError

    from search_spaces import registry

    try:
        kind = registry.get(name)
    except LookupError as error:
        wrong(f"--space: {error}")
    if unknown := [key for key in options if key not in kind.Options.model_fields]:
        known = ", ".join(kind.Options.model_fields)
        wrong(f"--space-option: the space {name} has no option {unknown[0]!r}; known: {known}")
    try:
        return kind(layers, residual, **options)
    except ValidationError as error:
        wrong(*(f"--space-option {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()))
    except ValueError as error:
        wrong(f"--space-option {error}")


def _point(space: Space, pairs: list[str]) -> dict[str, float]:
    """The coordinates given with --at: all of them, within their ranges; or none."""
    known = ", ".join(f"{name} ({low:g} to {high:g})" for name, (low, high) in space.coordinates.items())
    point: dict[str, float] = {}
    for pair in pairs:
        name, _, value = pair.rpartition("=")
        if name not in space.coordinates:
            wrong(f"--at {pair}: expected NAME=NUMBER of a coordinate of {space.name}: {known}")
        low, high = space.coordinates[name]
        try:
            point[name] = float(value)
        except ValueError:
            point[name] = float("nan")
        if not low <= point[name] <= high:
            wrong(f"--at {pair}: expected a number from {low:g} to {high:g}")
    missing = [name for name in space.coordinates if name not in point]
    if point and missing:
        wrong(f"--at: {', '.join(missing)} missing; the coordinates of {space.name} are {known}")
    return point


def _options(flag: str, pairs: list[str] | None) -> dict[str, Any]:
    from orchestrator.spec.reading import read

    options = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            wrong(f"{flag} {pair}: expected KEY=VALUE, e.g. width=2")
        found = read(value)
        if found.problems:
            wrong(f"{flag} {pair}: {found.problems[0].message}")
        options[key] = found.value
    return options


def _sparsity(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    if not (value.is_finite() and 0 <= value < 1):
        wrong(f"--sparsity {text}: expected a fraction from 0 to below 1, e.g. 0.9 for 90 % removed")
    return value


def _shape(text: str) -> tuple[int, int, int]:
    sizes = text.split("x")
    if len(sizes) != 3 or not all(size.isdigit() and int(size) for size in sizes):
        wrong(f"--input-shape {text}: expected channels x height x width, e.g. 3x32x32")
    return int(sizes[0]), int(sizes[1]), int(sizes[2])
