"""From methods to arms: grids, labels, options."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar, Literal

import pytest
from pydantic import Field

from methods import method, registry
from methods.step import Step
from orchestrator.spec import Arm, Spec, SpecError, arms, expand, load
from orchestrator.spec.method import Method


class Probe(method.Method):
    """A method with an option of each kind."""

    name = "probe"
    ticket = "initial"
    summary = "for tests"
    paper = "none"
    uses_data = False

    class Options(method.Options):
        kind: Literal["x", "y"] = "x"
        share: Decimal = Field(Decimal("0.5"), gt=0, le=1)
        at: Step = Step(Decimal(0), "ep")
        rounds: int = 1
        warm: bool = False
        stages: tuple[int, ...] | None = None
        note: str = ""
        other: str = ""
        needed: ClassVar[int] = 0

    def find(self, bench: Any) -> Any:
        raise AssertionError("not run")


class Needy(Probe):
    """A method with an option that has no default."""

    name = "needy"
    per_sparsity = False

    class Options(method.Options):
        target: int = Field(examples=[3])


@pytest.fixture(autouse=True)
def probe(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"probe": Probe, "needy": Needy}
    get = registry.get
    monkeypatch.setattr(registry, "get", lambda name: known[name] if name in known else get(name))


def entry(**options: Any) -> Method:
    return Method.model_validate({"name": "probe", **options})


DEFAULTS = {
    "kind": "x", "share": "0.5", "at": "0ep", "rounds": 1, "warm": False, "stages": None,
    "note": "", "other": "",
}  # fmt: skip


def test_defaults_are_written_out() -> None:
    assert expand(entry()) == [Arm("probe", "probe", DEFAULTS)]


def test_a_list_is_a_grid_in_the_order_written() -> None:
    made = expand(entry(rounds=[2, 1], kind=["y", "x"]))
    assert [arm.label for arm in made] == [
        "probe-y-rounds2", "probe-x-rounds2", "probe-y-rounds1", "probe-x-rounds1"
    ]  # fmt: skip
    assert made[0].options == {**DEFAULTS, "kind": "y", "rounds": 2}


def test_an_option_that_takes_a_list_is_no_grid() -> None:
    (arm,) = expand(entry(stages=[1, 2]))
    assert arm.options["stages"] == [1, 2]
    assert arm.label == "probe-stages_1_2_"


@pytest.mark.parametrize(
    ("options", "label"),
    [
        ({"share": 0.25}, "probe-share0.25"),
        ({"share": 1}, "probe-share1"),
        ({"at": "10ep"}, "probe-10ep"),
        ({"warm": True}, "probe-warmtrue"),
        ({"note": "a b/c:ü", "rounds": 3}, "probe-rounds3-a_b_c_"),
        ({"stages": None}, "probe-stagesnull"),
        ({"note": "n" * 200}, "probe-" + "n" * 74),
    ],
)
def test_label(options: dict[str, Any], label: str) -> None:
    assert [arm.label for arm in expand(entry(**options))] == [label]


@pytest.mark.parametrize(
    ("methods", "lines"),
    [
        ([{"name": "probe", "share": [0.5, 2]}],
         ["methods[0].share[1]: expected a number not above 1, found 2"]),
        ([{"name": "probe", "kind": ["z", "x"], "rounds": [1, 2]}],
         ["methods[0].kind[0]: unknown value 'z'; allowed: x, y"]),
        ([{"name": "probe", "share": "half", "rounds": "2"}],
         ["methods[0].share: expected a number, found the text 'half'",
          "methods[0].rounds: expected a whole number, found the text '2'"]),
        ([{"name": "probe", "stages": [1, "a"]}],
         ["methods[0].stages[1]: expected a whole number, found the text 'a'"]),
        (["needy"], ["methods[0].target: missing, e.g. `target: 3`"]),
        (["probe", {"name": "probe", "kind": "x"}],
         ["methods[1]: 'probe-x' is 'probe' of methods[0] again "
          "(kind \"x\", share \"0.5\", at \"0ep\", rounds 1, "
          'warm false, stages null, note "", other ""); remove one']),
        ([{"name": "probe", "share": [0.5, 0.50]}],
         ["methods[0]: 'probe-share0.5' is 'probe-share0.5' of methods[0] again (kind \"x\", share \"0.5\", "
          'at "0ep", rounds 1, warm false, stages null, note "", other ""); remove one']),
        ([{"name": "probe", "note": "a"}, {"name": "probe", "other": "a"}],
         ["methods[1]: the label 'probe-a' is taken by methods[0]; write one more option out"]),
        ([{"name": "probe", "note": ["a/b", "a:b"]}],
         ["methods[0]: the label 'probe-a_b' is taken by methods[0]; write one more option out"]),
    ],
)  # fmt: skip
def test_message(methods: list[Any], lines: list[str]) -> None:
    source = {"name": "x", "data": "digits", "model": "m", "recipe": {"epochs": 1}, "sparsities": [0.5]}
    assert load({**source, "methods": methods}).report() == [f"spec: {line}" for line in lines]
    made = Spec.model_validate({**source, "methods": methods})
    with pytest.raises(SpecError) as caught:
        arms(made)
    assert caught.value.lines == lines


def test_one_more_option_makes_labels_differ() -> None:
    methods = ["dense", {"name": "probe", "note": "a"}, {"name": "probe", "other": "a", "rounds": 1}]
    made = Spec.model_validate(
        {"name": "x", "data": "digits", "model": "m", "recipe": {"epochs": 1}, "methods": methods}
    )
    assert [arm.label for arm in arms(made)] == ["dense", "probe-a", "probe-rounds1-a"]


def test_a_method_without_sparsities_needs_none() -> None:
    source = {"name": "x", "data": "digits", "model": "m", "recipe": {"epochs": 1}}
    assert load({**source, "methods": [{"name": "needy", "target": 1}]}).report() == []
    assert load({**source, "methods": ["probe"]}).report() == [
        "spec: sparsities: 'probe' needs some, e.g. `sparsities: [0.9, 0.95, 0.98]`"
    ]
