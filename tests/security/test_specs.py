"""A hostile spec: text that is meant to build objects, to grow or to nest without end, and code that it names."""

from __future__ import annotations

import cProfile
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.spec import Spec, load, ready
from orchestrator.spec.code import code_named
from orchestrator.spec.reading import read

# for what counts no calls, such as a regular expression that tries in the square of a text's length
pytestmark = pytest.mark.timeout(240)

GROWING = {
    "billion laughs": "a0: &a0 [x, x]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(17)),
    "many values": "a: [" + "1," * 490_000 + "]",
    "many keys": "".join(f"k{i}: 1\n" for i in range(90_000)),
    "one key, often": "k: 1\n" * 190_000,
    "many aliases": "a: &a 1\nb: [" + "*a," * 300_000 + "]",
}  # fmt: skip
NESTED = {
    "lists": "a: " + "[" * 900_000,
    "mappings": "{" * 900_000,
    "blocks": "- " * 450_000,
    "keys": "? " * 450_000,
    "indents": "".join(" " * depth + "a:\n" for depth in range(1_000)),
    "an alias in itself": "a: &a {b: *a}",
}
LONG = {
    "digits": "a: " + "9" * 900_000,
    "a word": "a: " + "x" * 900_000,
    "escapes": 'a: "' + "\\u0041" * 150_000 + '"',
    "line folds": 'a: "' + "\n \n" * 300_000 + '"',
    "comments": "#\n" * 450_000,
    "directives": "%a\n" * 300_000,
    "documents": "---\n" * 200_000,
    "an anchor": "a: &" + "x" * 900_000 + " 1",
    "a tag": "a: !<" + "%41" * 300_000 + "> 1",
}


def problems(text: str) -> list[str]:
    """What is said of a text, read in work that grows with its length alone: calls of functions, which no machine's
    speed changes. At most 17 a character are made."""
    profile = cProfile.Profile()
    found = profile.runcall(read, text).problems
    assert sum(each.callcount for each in profile.getstats()) < 20 * len(text) + 250_000
    return [problem.message for problem in found]


@pytest.mark.parametrize("text", GROWING.values(), ids=GROWING)
def test_what_grows_is_too_large(text: str) -> None:
    assert problems(text) == ["too large for a spec: more than 20,000 values, those of aliases repeated"]


@pytest.mark.parametrize("text", NESTED.values(), ids=NESTED)
def test_what_nests_is_nested_too_deeply(text: str) -> None:
    (problem,) = problems(text)
    assert "nested too deeply" in problem


@pytest.mark.parametrize("name", LONG)
def test_what_is_long_is_read_or_refused_for_what_it_is(name: str) -> None:
    refused = {
        "digits": "the number is longer than 30 characters",
        "directives": "no valid YAML: expected '<document start>'",
        "documents": "no valid YAML: a second document begins here",
        "a tag": "the tag AAAA",
    }
    found = problems(LONG[name])
    assert len(found) == (name in refused)
    assert all(message.startswith(refused[name]) for message in found)


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.mknod [marker]", "!!python/name:os.system", "!!python/module:os",
        "!!python/object/new:os.mknod {args: [marker]}", "!!binary YQ==", "!<tag:yaml.org,2002:python/none> x",
    ],
)  # fmt: skip
def test_no_object_of_pythons_can_be_named(tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = read(f"a: {tag}\n")
    assert result.value == {"a": None}
    (problem,) = result.problems
    assert "is not allowed: a spec holds plain values only" in problem.message
    assert not list(tmp_path.iterdir())


# Code of the author's


def spec(**sections: Any) -> Spec:
    default = {"name": "x", "data": "digits", "model": "convnet", "recipe": {"epochs": 1}, "methods": ["dense"]}
    return load({**default, **sections}).require()


def test_code_that_a_spec_names_is_listed_with_its_place() -> None:
    assert code_named(spec()) == []
    assert code_named(spec(model=["torchvision.models:resnet18", "resnet20"])) == []
    found = code_named(spec(data={"name": "mydata:make", "n": 3}, model=["convnet", {"name": "mynets:lenet"}, "a.b:c"]))
    assert found == ["data.name: mydata:make", "model[1].name: mynets:lenet", "model[2].name: a.b:c"]


def test_no_ready_spec_names_code() -> None:
    assert [name for name in ready() if code_named(load(name).require())] == []


def test_all_that_imports_what_a_spec_names_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a spec may hold text, `module:factory` is written in turn: what is imported then must be listed."""
    from orchestrator.engine.check import check

    monkeypatch.chdir(tmp_path)
    (tmp_path / "planted.py").write_text("from pathlib import Path\nPath('imported').touch()\n")
    planted, listed = "planted:thing", []
    places: list[dict[str, Any]] = [
        {"data": planted}, {"model": planted}, {"model": {"name": "convnet", "weights": planted}},
        {"methods": [planted]}, {"methods": [{"name": "hybrid", "ratio": planted}], "sparsities": [0.5]},
        {"methods": [{"name": "hybrid", "ratios": planted}], "sparsities": [0.5]},
        {"methods": [{"name": "transfer", "ticket": planted}]},
        {"methods": [{"name": "random", "checks": [planted]}], "sparsities": [0.5]},
        {"search": {"method": planted, "sparsity": 0.5}},
        {"search": {"method": "hybrid", "sparsity": 0.5, "sampler": planted}},
        {"search": {"method": "hybrid", "sparsity": 0.5, "space": planted}},
        {"search": {"method": "hybrid", "sparsity": 0.5, "objectives": [planted]}},
        {"search": {"method": "hybrid", "sparsity": 0.5, "warm_starts": [planted]}},
        {"recipe": {"epochs": 1, "optimiser": planted}}, {"tracking": {"uri": planted}}, {"storage": planted},
    ]  # fmt: skip
    from orchestrator.sweep.checking import check_search

    for sections in places:
        sys.modules.pop("planted", None)
        loaded = load({"name": "x", "data": "digits", "model": "convnet", "recipe": {"epochs": 1},
                       "methods": ["dense"], **sections})  # fmt: skip
        problems = check(loaded)
        if loaded.spec and loaded.spec.search and not problems:
            check_search(loaded.spec)
        imported = tmp_path / "imported"
        named = bool(loaded.spec and code_named(loaded.spec))
        assert imported.exists() == named, sections
        listed.append(named)
        imported.unlink(missing_ok=True)
    assert sum(listed) == 2
