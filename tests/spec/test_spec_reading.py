"""YAML as a spec reads it: scalars of YAML 1.2, lines, and texts that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.spec import load
from orchestrator.spec.problems import Problem
from orchestrator.spec.reading import read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("5E3", 5000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-2.5e+3", -2500.0),
        ("12", 12),
        ("-7", -7),
        ("010", 10),
        ("0x1f", 31),
        ("0o17", 15),
        ("1_000", "1_000"),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("null", None),
        ("~", None),
        ("", None),
        ("2026-11-22", "2026-11-22"),
        ("1:30", "1:30"),
        ("'1e-4'", "1e-4"),
        ("10ep", "10ep"),
        ("=", "="),
        ("<<", "<<"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
    ],
)
def test_values(text: str, value: object) -> None:
    result = read(f"key: {text}\n")
    assert not result.problems
    assert result.value == {"key": value}
    assert type(result.value["key"]) is type(value)


def test_lines_of_keys_and_entries() -> None:
    result = read("a: 1\nb:\n  - 1\n  - c: 2\n    d:\n      3\ne: [1,\n 2]\n")
    assert result.lines == {
        (): 1, ("a",): 1, ("b",): 2, ("b", 0): 3, ("b", 1): 4, ("b", 1, "c"): 4, ("b", 1, "d"): 5,
        ("e",): 7, ("e", 0): 7, ("e", 1): 8,
    }  # fmt: skip


def test_an_alias_repeats_its_anchor() -> None:
    assert read("a: &x [1]\nb: *x\n").value == {"a": [1], "b": [1]}


INVALID = [
    ("", None, "the file is empty; `jackpot new` writes a spec to start from"),
    ("# nothing but this\n", None, "the file is empty; `jackpot new` writes a spec to start from"),
    ("---\n", 2, "the file is empty; `jackpot new` writes a spec to start from"),
    ("- a\n", 1, "expected keys and values, found a list; `jackpot new` writes a spec to start from"),
    ("\n5\n", 2, "expected keys and values, found 5; `jackpot new` writes a spec to start from"),
    ("a: 1\n\tb: 2\n", 2, "no valid YAML: a tab stands where YAML wants spaces; indent with spaces"),
    ("a:\n\t- 2\n", 2, "no valid YAML: a tab stands where YAML wants spaces; indent with spaces"),
    ("a: b: c\n", 1, "no valid YAML: a ':' where none may stand; check the indentation, and quote text "
     "that holds ': '"),
    ("a: 1\n---\nb: 2\n", 2,
     "no valid YAML: a second document begins here; a spec is one document, without '---'"),
    ("a: 1\nb\nc: 2\n", 3, "no valid YAML: a key without its ':'"),
    ("a: *b\n", 1, "no valid YAML: undefined alias 'b'; write the value out"),
    ("a: [1, 2\n", 2,
     "no valid YAML: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'"),
    ("a: 'x\n", 2, "no valid YAML: while scanning a quoted scalar, found unexpected end of stream"),
    ("a: 1\nb: \x01\n", 2, r"no valid YAML: the character '\x01' is not allowed"),
    ("a: " + "[" * 30 + "]" * 30, 1, "no valid YAML: nested too deeply"),
    ("a: &a [*a]\n", 1, "nested too deeply, or an alias stands inside itself"),
    ("a: 1\n" * 250_000, None, "too long for a spec: more than 1,000,000 characters"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "message"), INVALID, ids=[repr(text[:20]) for text, *_ in INVALID])
def test_no_spec_at_all(tmp_path: Path, text: str, line: int | None, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    loaded = load(path)
    assert loaded.report() == [f"{path}{f':{line}' if line else ''}: {message}"]
    assert loaded.spec is None
    assert loaded.parts == {}


PARTLY = [
    ("a: 1\nb: 2\na: 3\n", ("a",), "the key stands twice, on lines 1 and 3; remove one"),
    ("a: {b: 1, b: 2}\n", ("a", "b"), "the key stands twice, on lines 1 and 1; remove one"),
    ("a: &r {b: 1}\nc: {<<: *r}\n", ("c",), "the merge key << on line 2 is not of YAML 1.2; write its keys out"),
    ("1: a\n", ("1",), "a key is text, and this is none; quote it"),
    ("a: {true: 1}\n", ("a", "true"), "a key is text, and this is none; quote it"),
    ("? [a]\n: 1\n", (), "the key on line 1 is a list or mapping; a key is text"),
    ("a: .inf\n", ("a",), "expected a finite number, found .inf"),
    ("a: [-.INF, .nan]\n", ("a", 0), "expected a finite number, found -.INF"),
    ("a: 1e999\n", ("a",), "expected a finite number, found 1e999"),
    (f"a: {'9' * 31}\n", ("a",), "the number is longer than 30 characters"),
    ("a: !!int x\n", ("a",), "'x' is no number"),
    ("a: !!float x\n", ("a",), "'x' is no number"),
    ('a: "\\0"\n', ("a",), r"the character '\x00' is not allowed"),
    ('a: "\\ud800"\n', ("a",), r"the character '\ud800' is not allowed"),
    ("a: !!python/object/apply:os.system [ls]\n", ("a",),
     "the tag !!python/object/apply:os.system is not allowed: a spec holds plain values only; remove it"),
    ("a: !mine 3\n", ("a",), "the tag !mine is not allowed: a spec holds plain values only; remove it"),
    ("a: !!set {x}\n", ("a",), "the tag !!set is not allowed: a spec holds plain values only; remove it"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "path", "message"), PARTLY, ids=[repr(text[:20]) for text, *_ in PARTLY])
def test_a_value_that_is_none(text: str, path: tuple, message: str) -> None:
    assert read(text).problems[0] == Problem(path, message)


def test_a_bomb_of_aliases_is_refused() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert read("\n".join(rows)).problems == [
        Problem((), "too large for a spec: more than 20,000 values, those of aliases repeated")
    ]


def test_a_wrong_value_is_reported_once(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("name: x\ndata: digits\nmodel: convnet\nrecipe: {epochs: .nan}\nmethods: [dense]\n")
    assert load(path).report() == [f"{path}:4: recipe.epochs: expected a finite number, found .nan"]
