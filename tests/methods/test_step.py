"""Steps: epochs and iterations are never mistaken for each other."""

from __future__ import annotations

from decimal import Decimal

import pydantic
import pytest

from methods.step import Step


@pytest.mark.parametrize(
    ("text", "iterations"),
    [("0ep", 0), ("10ep", 70), ("0.5ep", 3), ("2.9ep", 20), ("500it", 500), ("0it", 0), ("0.1ep", 0), ("1.0ep", 7)],
)
def test_iterations_with_seven_an_epoch(text: str, iterations: int) -> None:
    """A part of an iteration is dropped."""
    assert Step.parse(text).iterations(7) == iterations


@pytest.mark.parametrize(
    "wrong", ["10", "ep", "-1ep", "1.5it", "1e3it", "1 ep", "1EP", ".5ep", "1.ep", "1ep ", "", 10, 1.5, None, True]
)
def test_what_is_no_step_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"is no step: expected epochs like '10ep' or|iterations are whole numbers"):
        Step.parse(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "shown"), [("10ep", "10ep"), ("0.50ep", "0.5ep"), ("100it", "100it"), ("1000ep", "1000ep"), ("0ep", "0ep")]
)
def test_a_step_is_shown_in_one_way(text: str, shown: str) -> None:
    assert str(Step.parse(text)) == shown
    assert Step.parse(shown).iterations(13) == Step.parse(text).iterations(13)


def test_a_model_reads_and_writes_a_step() -> None:
    class Options(pydantic.BaseModel):
        at: Step = Step(Decimal(0), "ep")

    assert Options(at="5ep").at == Step(Decimal(5), "ep")  # type: ignore[arg-type]
    assert Options.model_validate({"at": Step.parse("5it")}).model_dump(mode="json") == {"at": "5it"}
    assert Options.model_json_schema()["properties"]["at"]["type"] == "string"
    with pytest.raises(pydantic.ValidationError, match="'5' is no step"):
        Options(at="5")  # type: ignore[arg-type]
