"""A typed point in training time, so that an epoch is never mistaken for an iteration."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

_PATTERN = r"^[0-9]+(\.[0-9]+)?(ep|it)$"


@dataclass(frozen=True)
class Step:
    """A number of epochs ("10ep", "0.5ep") or of optimiser iterations ("500it")."""

    count: Decimal
    unit: str

    @classmethod
    def parse(cls, value: str | Step) -> Step:
        """Read "10ep", "0.5ep" or "500it"; ValueError names the two forms."""
        if isinstance(value, Step):
            return value
        if not isinstance(value, str) or not re.fullmatch(_PATTERN, value):
            raise ValueError(f"{value!r} is no step: expected epochs like '10ep' or iterations like '500it'")
        count, unit = Decimal(value[:-2]), value[-2:]
        if unit == "it" and count != int(count):
            raise ValueError(f"{value!r}: iterations are whole numbers")
        return cls(count, unit)

    def iterations(self, per_epoch: int) -> int:
        """Optimiser iterations, given the iterations of one epoch; a part of one is dropped."""
        return int(self.count * per_epoch) if self.unit == "ep" else int(self.count)

    def __str__(self) -> str:
        return f"{self.count.normalize():f}{self.unit}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> dict:
        return {"type": "string", "pattern": _PATTERN, "examples": ["10ep", "500it"]}
