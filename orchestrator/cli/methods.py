"""jackpot methods: the ticket types there are."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orchestrator.cli.common import print_json, wrong

EXAMPLES = "Examples: jackpot methods | jackpot methods lottery | jackpot methods --json"


def command(
    name: Annotated[str | None, typer.Argument(help="Explain this one.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Say it as JSON.")] = False,
) -> None:
    """List the ticket types, or explain one: paper, options, defaults."""
    from methods import registry

    try:
        known = [_describe(registry.get(method)) for method in ([name] if name else registry.names())]
    except registry.UnknownMethod as error:
        wrong(str(error))
    if json:
        print_json(known[0] if name else known)
    else:
        width = max(len(method["name"]) for method in known)
        for method in known:
            if name:
                _explain(method)
            else:
                _line(method, width)
    for plugin, reason in registry.broken().items():
        typer.echo(f"plugin left out: {plugin}: {reason}", err=True)


def _describe(method: Any) -> dict[str, Any]:
    return {
        "name": method.name,
        "ticket": method.ticket,
        "summary": method.summary,
        "paper": method.paper or None,
        "uses_data": method.uses_data,
        "granularity": method.granularity,
        "prunes": method.prunes,
        "cost": method.cost,
        "module": method.__module__,
        "options": [_option(name, field) for name, field in method.Options.model_fields.items()],
    }


def _option(name: str, field: Any) -> dict[str, Any]:
    from pydantic import TypeAdapter

    adapter = TypeAdapter(field.annotation)
    schema = adapter.json_schema()
    bounds = {
        key: getattr(limit, key) for limit in field.metadata for key in ("gt", "ge", "lt", "le") if hasattr(limit, key)
    }
    return {
        "name": name,
        "default": None if field.is_required() else adapter.dump_python(field.default, mode="json"),
        "required": field.is_required(),
        "values": schema.get("enum"),
        "bounds": bounds or None,
        "description": " ".join((field.description or "").split()),
    }


def _line(method: dict[str, Any], width: int) -> None:
    options = ", ".join(
        option["name"] if option["required"] else f"{option['name']}={_short(option['default'])}"
        for option in method["options"]
    )
    print(
        f"{method['name']:<{width}}  {method['ticket'] + ' ticket':<24} {method['summary']}"
        + (f" ({options})" if options else "")
    )


def _explain(method: dict[str, Any]) -> None:
    print(f"{method['name']}: {method['summary']}\nticket type: {method['ticket']}\npaper: {method['paper'] or 'none'}")
    print(f"removes: {method['granularity']}s, {method['prunes']}")
    print(f"looks at training data to find the ticket: {'yes' if method['uses_data'] else 'no'}")
    if method["cost"]:
        print(f"costs: {method['cost']}")
    print("options:" if method["options"] else "no options")
    for option in method["options"]:
        values = " | ".join(map(str, option["values"])) if option["values"] else ""
        signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
        bounds = ", ".join(f"{signs[key]} {limit}" for key, limit in (option["bounds"] or {}).items())
        about = "; ".join(part for part in (values, bounds) if part)
        default = "required" if option["required"] else f"default {_short(option['default'])}"
        print(f"  {option['name']} ({default}{'; ' + about if about else ''})")
        print(f"      {option['description']}")


def _short(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
