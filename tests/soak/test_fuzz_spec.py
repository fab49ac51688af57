"""The spec loader against texts that nobody would write: problems come out, nothing else."""

from __future__ import annotations

import json
import random
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzzing import damaged, everything, fuzz

from orchestrator.engine.trials import trials
from orchestrator.spec import SpecError, arms, dump, load, ready
from orchestrator.spec.code import code_named
from orchestrator.spec.reading import Dumper, read

COUNT, CUT = 100_000, 300

PARSED: list[dict[str, Any]] = [
    read((resources.files("search_spaces") / f"{name}.yaml").read_text("utf-8")).value for name in ready()
]
TEXTS = [yaml.dump(spec, Dumper=Dumper, sort_keys=False).encode() for spec in PARSED]
"""The ready specs without their comments, which only take time."""
HOSTILE: list[Any] = [
    None, True, False, 0, -1, 1, 2**63, 10**400, 0.1, -0.0, 1e308, 5e-324, "", " ", "\0", "\n", "é", "\u202e",
    "x" * 300, "nan", ".inf", "1e999", "0x1f", "../../x", "/etc/passwd", "~", "$HOME", "a:b", "os:system", ":", "::",
    "torchvision:", "-1ep", "0ep", "10ep", "500it", "1e999ep", "1ep" * 50, "s3://x/y", "sqlite:///x",
    "http://me:pw@h:1", "http://[::1", "://", "postgresql://a:b@c@d/?password=x", [], {}, [[]], [{}], [None],
    {"": None}, {"name": None}, {"name": []}, {"name": {}}, [1] * 30, ["dense"] * 3,
    {"name": "dense", "x": {"y": []}}, {"name": "lottery", "fraction": [0.1] * 2_000},
]  # fmt: skip
"""Values for any place."""
TOKENS = [
    "a", "name", "data", "methods", "recipe", "model", "x" * 50, "1", "-1", "1e4", "0o7", ".5", "true", "null", "~",
    ": ", ":", "- ", "-", "? ", ",", "[", "]", "{", "}", "\n", "\n  ", "\n    ", "\t", " ", "#", " #", "|\n", ">-\n",
    "&a ", "*a", "*b", "<<: ", "!x ", "!!int ", "!!python/name:os.system ", "!<", "%", "%YAML 1.2\n", "---\n", "...\n",
    "'", '"', "\\", "\\x00", "\\ud800", "\ufeff", "\x85", "\u2028", "\r", "\0", "\x07", "é", "@", "`", "\U0001f3b0",
]  # fmt: skip


def keys_in(value: Any) -> set[str]:
    """Every key of a mapping and of those in it."""
    if isinstance(value, dict):
        return {str(key) for key in value} | {key for each in value.values() for key in keys_in(each)}
    return {key for each in value for key in keys_in(each)} if isinstance(value, list) else set()


KEYS = [*sorted(keys_in(PARSED)), "", "nmae", "name.", "0", "x" * 300, "a\nb", "<<", "tracking", "uri", "storage"]


def changed(value: Any, draw: random.Random) -> Any:
    """A spec's content with one place changed: another value, key or shape."""
    if isinstance(value, (dict, list)) and value and draw.random() < 0.8:
        copy: Any = dict(value) if isinstance(value, dict) else list(value)
        place = draw.choice(sorted(copy) if isinstance(copy, dict) else range(len(copy)))
        how = draw.random()
        if how < 0.7:
            copy[place] = changed(copy[place], draw)
        elif how < 0.8:
            del copy[place]
        elif isinstance(copy, dict):
            copy[draw.choice(KEYS)] = copy[place] if how < 0.9 else draw.choice(HOSTILE)
        else:
            copy.append(draw.choice((copy[place], draw.choice(HOSTILE))))
        return copy
    return draw.choice((draw.choice(HOSTILE), [value], {"name": value}, [value, value], draw.choice(PARSED)))


def spec_text(draw: random.Random) -> tuple[bytes, list[str]]:
    """A text that is a spec, nearly one, or nothing like one; and what is set over it."""
    kind, whole = draw.random(), draw.randrange(len(PARSED))
    if kind < 0.3:
        text = damaged(TEXTS[whole], draw)
    elif kind < 0.7:
        spec = PARSED[whole]
        for _ in range(draw.choice((1, 1, 2, 5))):
            spec = changed(spec, draw)
        text = json.dumps(spec).encode()
    else:
        text = "".join(draw.choice(TOKENS) for _ in range(draw.randrange(60))).encode("utf-8", "surrogatepass")
    paths = [".".join(draw.choice((*KEYS, "0", "1", "7", "-1")) for _ in range(draw.randrange(1, 4))) for _ in range(2)]
    overrides = [f"{path}={draw.choice((json.dumps(draw.choice(HOSTILE)), draw.choice(TOKENS)))}" for path in paths]
    return text, overrides[: draw.choice((0, 0, 0, 1, 2))]


def tried_in(place: Path) -> Any:
    """Loads a text and looks at what came of it: a spec that says itself again, or words for what is wrong."""
    path = place / "spec.yaml"

    def tried(given: tuple[bytes, list[str]]) -> None:
        path.write_bytes(given[0])
        loaded = load(path, given[1])
        lines = loaded.report()
        assert all(line and line.isprintable() for line in lines)
        if loaded.spec is None:
            assert lines
            with pytest.raises(SpecError):
                loaded.require()
            return
        assert not lines
        assert load(read(dump(loaded.spec)).value).require() == loaded.spec
        assert len({arm.label for arm in arms(loaded.spec)}) == len(arms(loaded.spec))
        assert isinstance(code_named(loaded.spec), list)
        try:
            found = trials(loaded.spec)
        except SpecError:
            return
        assert all("/" not in trial.id and "\0" not in trial.id for trial in found)

    return tried


def _run(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    before = everything(tmp_path)
    said = fuzz(count, 7, spec_text, tried_in(place))
    after = everything(tmp_path)
    assert {path for path in after if path not in before} == {str(place / "spec.yaml")}
    return said


def test_a_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _run(CUT, tmp_path, monkeypatch)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_every_text_gives_a_spec_or_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    print("\nspec loader:", _run(COUNT, tmp_path, monkeypatch))


def test_the_texts_are_of_all_kinds() -> None:
    """Else the loader would only ever be asked the same."""
    assert all(load(read(text.decode()).value).spec for text in TEXTS)
    kinds = {"spec": 0, "no yaml": 0, "wrong": 0}
    for number in range(CUT):
        text, _ = spec_text(random.Random(f"7 {number}"))
        value = read(text.decode("utf-8", "replace")).value
        kinds["no yaml" if not isinstance(value, dict) else "spec" if load(value).spec else "wrong"] += 1
    assert min(kinds.values()) > CUT / 50, kinds
