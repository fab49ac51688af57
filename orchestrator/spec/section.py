"""What every section of a spec is made of."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict

Scalar = bool | int | float | str | None


class Section(BaseModel):
    """A part of a spec: unknown keys are errors, "3" is no number and 1 no boolean; values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


Written = Strict(False)
"""Marks a tuple, which YAML writes as a list; its entries stay strict."""

Values = TypeVar("Values", list, tuple)


def each_once(values: Values) -> Values:
    """The values. Raises ValueError where one stands twice."""
    for i, value in enumerate(values):
        if value in values[:i]:
            name = getattr(value, "name", None)
            raise ValueError(f"{f'the network {name!r}' if name else value} stands twice; remove one")
    return values


def as_list(value: Any) -> Any:
    """One value as a list of it."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _as_named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _as_decimal(value: Any) -> Any:
    # through the shortest text of the float, so that 0.98 means exactly 98 / 100
    return Decimal(str(value)) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


# 12 decimals: every such number survives the way through a file's float and back
Sparsity = Annotated[Decimal, Field(gt=0, lt=1, decimal_places=12), BeforeValidator(_as_decimal)]
Named = BeforeValidator(_as_named)
"""Marks a section that may be written as its name alone."""
