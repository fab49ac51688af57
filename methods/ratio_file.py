"""A layer-wise ratio that a user wrote: the keep ratio of each layer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator


def _read(path: str) -> dict[str, Any]:
    """What a file says, not looked at yet."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be read ({error.strerror}); a relative path starts at the current folder"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is not JSON ({error})") from error
    if isinstance(content, dict) and isinstance(content.get("layers"), list):
        content = content["layers"]
    if isinstance(content, list) and all(
        isinstance(row, dict) and {"name", "keep_ratio"} <= row.keys() for row in content
    ):
        content = {row["name"]: row["keep_ratio"] for row in content}
    if not isinstance(content, dict) or not content:
        raise ValueError(
            f"{path}: holds no ratios; expected {{layer: keep ratio}}, or what `jackpot ratios --json` prints"
        )
    return content


def _checked(ratios: Mapping[str, Any]) -> dict[str, Decimal]:
    """Keep ratios between 0 and 1."""
    if ratios.keys() == {"file"} and isinstance(ratios["file"], str):
        raise ValueError(f"a file of ratios is given by its path alone; write `ratios: {ratios['file']}`")
    found = {}
    for name, value in ratios.items():
        try:
            if isinstance(value, bool):
                raise TypeError
            found[name] = Decimal(str(value))
            if not 0 <= found[name] <= 1:
                raise TypeError
        except (TypeError, InvalidOperation):
            said = f"'{value}'" if isinstance(value, str) else value
            raise ValueError(f"the keep ratio of layer {name!r} is {said}; expected a number in 0..1") from None
    return found


def _both(value: Any) -> Any:
    if isinstance(value, str):
        return read_ratios(value)
    return _checked(value) if isinstance(value, dict) else value


def read_ratios(path: str) -> dict[str, Decimal]:
    """The keep ratios that a file says. Read once, as the spec is: the options of a trial hold the ratios. Raises
    ValueError where it says none."""
    content = _read(path)
    try:
        return _checked(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


RatioFile = Annotated[dict[str, Decimal], BeforeValidator(_both)]
"""Layer name -> keep ratio: a mapping, or a JSON file of one."""
