"""A ticket type as a spec names it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from orchestrator.spec.section import Scalar, Written, each_once

CheckName = Literal[
    "random_labels", "random_pixels", "half_data",
    "rearrange", "shuffle_weights", "reinitialise", "same_ratio_random", "same_ratio_magnitude",
]  # fmt: skip


class Method(BaseModel):
    """A ticket type by name; further keys are its options, and an option given as a list is a grid."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Scalar | list[Scalar] | dict[str, Any]] = {}

    name: str = Field(min_length=1)
    checks: Annotated[tuple[CheckName, ...], Written] = ()
    """Sanity checks: the method is tried once more for each, with what the check destroys gone."""

    @field_validator("checks")
    @classmethod
    def _no_repeats(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return each_once(values)

    @property
    def options(self) -> dict[str, Any]:
        """Options as written; a list holds the values of a grid."""
        return dict(self.__pydantic_extra__ or {})
