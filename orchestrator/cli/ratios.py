"""jackpot ratios: preview how many weights each layer keeps."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import typer

from orchestrator.cli.common import print_json, wrong

EXAMPLES = "Example: jackpot ratios --model resnet32 --model-option width=2 --ratio smart --sparsity 0.98"


def command(
    model: Annotated[str, typer.Option(help="A network, also of torchvision, or module:factory.")],
    ratio: Annotated[str, typer.Option(help="uniform, balanced, erk, smart, ascend, linear_decay, cubic.")],
    sparsity: Annotated[str, typer.Option(help="Fraction of the weights to remove, e.g. 0.9.")],
    model_option: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Option of the network.")] = None,
    num_classes: Annotated[int, typer.Option(min=2, help="Outputs of the network.")] = 10,
    input_shape: Annotated[str, typer.Option(help="Channels x height x width of an image.")] = "3x32x32",
    json: Annotated[bool, typer.Option("--json", help="Say it as JSON.")] = False,
) -> None:
    """Preview the keep ratio and count of every layer, in layer order."""
    from methods.layers import is_residual, prunable_layers
    from methods.ratios import layer_counts
    from orchestrator.engine.nets import ModelError, skeleton
    from orchestrator.spec.models import Model

    shape = _shape(input_shape)
    try:
        net = skeleton(Model(name=model, **_options(model_option or [])), num_classes, shape)
        layers = prunable_layers(net)
        counts = layer_counts(ratio, layers, _sparsity(sparsity), residual=is_residual(net))
    except ModelError as error:
        wrong(*(f"--model{'-option' if path != ('name',) else ''}: {message}" for path, message in error.problems))
    except ValueError as error:
        wrong(str(error))
    if not sum(counts):
        wrong(f"--sparsity {sparsity}: keeps none of the {sum(layer.weights for layer in layers):,} weights; lower it")
    rows = [
        {"name": layer.name, "weights": layer.weights, "kept": kept, "keep_ratio": kept / layer.weights}
        for layer, kept in zip(layers, counts, strict=True)
    ]
    total = sum(layer.weights for layer in layers)
    if json:
        asked = {"model": model, "ratio": ratio, "sparsity": float(sparsity)}
        print_json({**asked, "weights": total, "kept": sum(counts), "layers": rows})
        return
    width = max(len(layer.name) for layer in layers)
    print(f"{'layer':<{width}} {'weights':>10} {'kept':>10} {'keep ratio':>10}")
    for row in rows:
        print(f"{row['name']:<{width}} {row['weights']:>10} {row['kept']:>10} {row['keep_ratio']:>10.4f}")
    print(f"{'all':<{width}} {total:>10} {sum(counts):>10} {sum(counts) / total:>10.4f}")


def _options(pairs: list[str]) -> dict[str, Any]:
    import yaml

    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            wrong(f"--model-option {pair}: expected KEY=VALUE, e.g. width=2")
        options[key] = yaml.safe_load(value)
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
