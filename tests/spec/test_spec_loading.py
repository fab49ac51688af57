"""Sources, parts, dumping, the shipped specs and the starter."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from methods.step import Step
from orchestrator.spec import Spec, SpecError, arms, dump, load, ready, template
from orchestrator.spec.data import DATA_SETS, Digits, ImageFolder
from orchestrator.spec.problems import Problem

SOURCE: dict[str, Any] = {
    "name": "x", "data": "digits", "model": "convnet", "recipe": {"epochs": 1}, "methods": ["dense"],
}  # fmt: skip
READY = ", ".join(ready())


def test_a_dict_may_hold_pythons_own_values() -> None:
    schedule = {"name": "milestones", "at": (Step.parse("1ep"),)}
    made = load({
        **SOURCE, "recipe": {"epochs": 1, "schedule": schedule},
        "sparsities": (Decimal("0.9"), 0.98), "storage": Path("out"),
    }).require()  # fmt: skip
    assert made.sparsities == [Decimal("0.9"), Decimal("0.98")]
    assert made.recipe.schedule.at == (Step(Decimal(1), "ep"),)
    assert made.storage == "out"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"seeds": {1}}, "seeds: expected a number, text, true, false, a list or a mapping, found {1}"),
        ({"storage": "a\0"}, r"storage: the character '\x00' is not allowed"),
        ({"recipe": {"epochs": 1, "lr": float("inf")}}, "recipe.lr: expected a finite number, found inf"),
        ({"recipe": {"epochs": 1, 2: 3}}, "recipe: a key is text, and 2 is none"),
    ],
)
def test_a_dict_that_yaml_could_not_hold(change: dict[str, Any], line: str) -> None:
    assert load({**SOURCE, **change}).report() == [f"spec: {line}"]


def test_a_spec_is_checked_again_for_its_methods() -> None:
    made = Spec.model_validate({**SOURCE, "methods": ["snip", "hybird"]})
    with pytest.raises(SpecError) as caught:
        load(made).require()
    assert [line.split(":")[1] for line in caught.value.lines] == [" methods[1].name", " sparsities"]


def test_no_source() -> None:
    with pytest.raises(TypeError, match="a spec is a path, a name, a dict or a Spec, not int"):
        load(3)  # type: ignore[arg-type]


def test_unreadable_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("latin.yaml").write_bytes(b"name: \xe9\n")
    Path("file").touch()
    assert load("nope.yaml").report() == [f"nope.yaml: no such file, nor a ready spec of that name; ready: {READY}"]
    assert load("quikstart").report() == [
        f"quikstart: no such file, nor a ready spec of that name; did you mean 'quickstart'? ready: {READY}"
    ]
    assert load(tmp_path).report() == [f"{tmp_path}: is a folder; a spec is a YAML file"]
    assert load("latin.yaml").report() == ["latin.yaml: is no UTF-8 text (byte 6); a spec is a YAML file"]
    assert load("file/x.yaml").report() == ["file/x.yaml: cannot be read: Not a directory"]
    assert load("a\0").report() == [r"a\x00: cannot be read: embedded null byte"]


def test_a_file_goes_before_a_ready_spec_and_a_folder_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quickstart").mkdir()
    assert load("quickstart").origin == "search_spaces/quickstart.yaml"
    Path("quickstart").rmdir()
    Path("quickstart").write_text("\ufeff" + dump(load(SOURCE).require()))  # with the mark some editors write
    assert load("quickstart").require().name == "x"


def test_parts_are_the_sections_that_are_right() -> None:
    loaded = load({**SOURCE, "recipe": {"epochs": 0}, "methods": ["hybird"], "other": 1, "model": ["vgg19", "convnet"]})
    assert loaded.spec is None
    assert set(Spec.model_fields) - set(loaded.parts) == {"recipe", "methods"}
    assert loaded.parts["data"] == Digits()
    assert [model.name for model in loaded.parts["model"]] == ["vgg19", "convnet"]


def test_problems_that_others_find_get_their_line(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("name: x\ndata:\n  name: digits\nmodel:\n  name: convnet\n  width: 2\n"
                    "recipe: {epochs: 0}\nmethods: [dense]\n")  # fmt: skip
    more = [
        Problem(("model", 0, "width"), "is no option"),
        Problem(("data", "root", 3), "x"),
        Problem((), "all"),
    ]
    assert load(path).report(more) == [
        f"{path}:1: all",
        f"{path}:2: data.root[3]: x",
        f"{path}:6: model.width: is no option",
        f"{path}:7: recipe.epochs: expected a number not below 1, found 0",
    ]


SPECS = [
    *[load(name).require() for name in ready()],
    load({**SOURCE, "name": "1e4", "storage": "0x1f",
          "model": {"name": "a:b", "x": "1e-4", "y": "yes", "z": None},
          "prunable": {"exclude": ("fc", "null", "1_0")}, "sparsities": [0.000000000001, 0.123456789012],
          "methods": [{"name": "lottery", "fraction": [0.2, 1e-05], "rewind_to": ["1ep", "10it"]}],
          "recipe": {"epochs": 1, "lr": 1e-7, "schedule": {"warmup": "0.50ep"}}}).require(),
    *(load({**SOURCE, "name": f"data-{i}", "data": data}).require() for i, data in enumerate([
        "cifar100", {"name": "fake", "shape": [1, 8, 8]}, {"name": "imagenet", "root": "x", "mean": None},
        {"name": "mine:load", "count": 3, "kind": "1e-4", "std": [0.5]}])),
]  # fmt: skip


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_dumped_spec_loads_to_an_equal_one(tmp_path: Path, spec: Spec) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(dump(spec))
    again = load(path).require()
    assert again == spec
    assert again.model_dump_json() == spec.model_dump_json()
    assert load(spec).require() == spec


def trials(spec: Spec) -> int:
    dense = sum(arm.name == "dense" for arm in arms(spec))
    return len(spec.model) * len(spec.seeds) * (dense + (len(arms(spec)) - dense) * len(spec.sparsities))


def test_quickstart() -> None:
    spec = load("quickstart").require()
    assert trials(spec) == 30
    assert [arm.label for arm in arms(spec)] == ["dense", "random-smart", "snip", "lottery"]
    assert isinstance(spec.data, Digits)


def test_cifar10_cpu() -> None:
    spec = load("cifar10_cpu").require()
    assert (spec.model[0].name, spec.model[0].options, spec.recipe.epochs) == ("resnet8", {"width": 0.5}, 4)
    assert [method.name for method in spec.methods] == ["dense", "random", "snip", "lottery"]
    assert spec.methods[-1].options == {"fraction": 0.5}
    assert (list(map(str, spec.sparsities)), spec.seeds) == (["0.9", "0.95"], [0, 1, 2])
    assert load("cifar10_cpu", ["data=cifar10"]).require().data.name == "cifar10"


def test_random_tickets_cifar10() -> None:
    spec = load("random_tickets_cifar10").require()
    assert trials(spec) == 114
    assert isinstance(spec.data, ImageFolder)
    assert spec.data.validation == 0
    assert [(model.name, model.options) for model in spec.model] == [
        ("vgg19", {}),
        ("resnet32", {"width": 2}),
    ]
    recipe = spec.recipe  # tickets.md 1.2
    assert (recipe.epochs, recipe.batch, recipe.lr, recipe.momentum) == (160, 64, 0.1, 0.9)
    assert (recipe.weight_decay, recipe.nesterov, recipe.optimiser) == (1e-4, False, "sgd")
    assert [str(step) for step in recipe.schedule.at] == ["80ep", "120ep"]
    assert (recipe.augmentation.crop, recipe.augmentation.flip) == (4, True)


def keys(section: type[BaseModel]) -> set[str]:
    inner = [field.annotation for field in section.model_fields.values()]
    nested = [keys(each) for each in inner if isinstance(each, type) and issubclass(each, BaseModel)]
    return set(section.model_fields).union(*nested)


def test_the_starter_loads_and_names_every_key(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(template())
    assert load(path).report() == []
    words = {line.strip().lstrip("# ").partition(":")[0] for line in template().splitlines()}
    assert keys(Spec) | set().union(*map(keys, DATA_SETS.values())) | {"weights"} <= words | {
        "classes",
        "train",
        "seed",
    }


def test_the_commented_keys_of_the_starter_are_right(tmp_path: Path) -> None:
    text = template().replace("# concurrency", "concurrency").replace("# storage", "storage")
    for key in ("max_failed_trials", "uri", "weights", "validation", "split_seed"):
        text = text.replace(f"  # {key}:", f"  {key}:")
    path = tmp_path / "x.yaml"
    path.write_text(text)
    spec = load(path).require()
    assert (spec.concurrency, spec.storage, spec.failures.max_failed_trials) == (2, "sweeps", 5)
    assert spec.model[0].weights == "dense.safetensors"


def test_damaged_specs_never_raise(tmp_path: Path) -> None:
    """A hundred and fifty specs, each with a few characters, lines or bytes changed at random."""
    draw = random.Random(0)
    path = tmp_path / "x.yaml"
    bad = 0
    for _ in range(150):
        text = list(draw.choice([template(), dump(SPECS[1]), dump(SPECS[2])]))
        for _ in range(draw.randint(1, 8)):
            at = draw.randrange(len(text))
            change = draw.randrange(4)
            if change == 0:
                text[at] = draw.choice("[]{}:,-#&*!|>'\"%@`\t\n 0aé\x01~?=<.\\")
            elif change == 1:
                del text[at : at + draw.randint(1, 30)]
            elif change == 2:
                text[at:at] = text[draw.randrange(len(text)) :][: draw.randint(1, 40)]
            else:
                text[at:at] = draw.choice(
                    ["null", "true", "[[[", "-1", "1e400", "!!x ", "\n  - ", ": ", "{a: 1}", "*a"]
                )
        path.write_bytes("".join(text).encode() + (b"\xff" if draw.random() < 0.05 else b""))
        loaded = load(path)
        report = loaded.report()
        assert (loaded.spec is None) == bool(report)
        assert all(line.startswith(str(path)) for line in report)
        bad += bool(report)
    assert bad > 50
