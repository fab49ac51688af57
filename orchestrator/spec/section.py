"""What every section of a spec is made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Strict

Scalar = bool | int | float | str | None


class Section(BaseModel):
    """A part of a spec: unknown keys are errors, "3" is no number and 1 no boolean; values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


Written = Strict(False)
"""Marks a tuple, which YAML writes as a list; its entries stay strict."""
