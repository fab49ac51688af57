"""`--set KEY=VALUE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from methods import registry
from orchestrator.spec import load


def spec(**sections: Any) -> dict[str, Any]:
    base = {"name": "x", "data": "digits", "model": "convnet", "recipe": {"epochs": 1}, "methods": ["dense"]}
    return {**base, "sparsities": [0.5], **sections}


def test_values_are_read_as_yaml() -> None:
    loaded = load(spec(), ["recipe.epochs=3", "recipe.lr=1e-2", "seeds=[4, 5]", "storage=out", "concurrency=null"])
    made = loaded.require()
    assert (made.recipe.epochs, made.recipe.lr, made.seeds) == (3, 0.01, [4, 5])
    assert (made.storage, made.concurrency) == ("out", None)


def test_a_section_that_is_not_there_is_made() -> None:
    made = load(spec(), ["recipe.schedule.name=cosine", "tracking.enabled=false"]).require()
    assert made.recipe.schedule.name == "cosine"
    assert not made.tracking.enabled


def test_a_name_alone_takes_options() -> None:
    overrides = ["data.test=0.3", "model.width=2", "methods.0.name=random", "methods.0.ratio=[erk, smart]"]
    made = load(spec(model="resnet20"), overrides).require()
    assert made.data.test == 0.3  # type: ignore[union-attr]
    assert made.model[0].options == {"width": 2}
    assert made.methods[0].options == {"ratio": ["erk", "smart"]}


def test_an_override_mends_what_the_file_says_wrong(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("name: x\ndata: digits\nmodel: convnet\nrecipe: {epochs: .nan, epochs: 2}\nmethods: [dense]\n")
    assert len(load(path).problems) == 2
    assert load(path, ["recipe={epochs: 2}"]).require().recipe.epochs == 2


def test_the_last_one_counts() -> None:
    loaded = load(spec(), ["recipe.epochs=x", "recipe={epochs: y}"])
    assert loaded.report() == ["--set recipe={epochs: y}: recipe.epochs: expected a whole number, found the text 'y'"]


def test_the_source_is_not_changed() -> None:
    source = spec()
    load(source, ["recipe.epochs=3"])
    assert source["recipe"] == {"epochs": 1}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recipe.epochs=x", "recipe.epochs: expected a whole number, found the text 'x'"),
        ("recipe.epochs=", "recipe.epochs: expected a whole number, found nothing"),
        ("keep=ticket", "keep: unknown value 'ticket'; did you mean 'tickets'? allowed: all, tickets"),
        ("resources.gpus=1", "resources.gpus: unknown key; did you mean 'gpu'? known: cpu, gpu"),
        ("methods.0=lotery", "methods[0].name: unknown method 'lotery'; did you mean 'lottery'? "
         f"known: {', '.join(registry.names())}"),
        ("methods=[dense, {name: snip, batches: [1, 0]}]",
         "methods[1].batches[1]: expected a number not below 1, found 0"),
        ("sparsities=[0.9,",
         "sparsities: no valid YAML: while parsing a flow node, expected the node content, "
         "but found '<stream end>'"),
        ("sparsities=[.nan]", "sparsities: expected a finite number, found .nan"),
        ("seeds", "seeds: expected KEY=VALUE, e.g. recipe.epochs=3"),
        ("recipe..epochs=3", "recipe..epochs: expected KEY=VALUE, e.g. recipe.epochs=3"),
        ("methods.1=snip", "methods[1]: methods has entries 0 to 0, but no 1"),
        ("methods.first=snip", "methods.first: methods has entries 0 to 0, but no 'first'"),
        ("recipe.epochs.x=3", "recipe.epochs.x: recipe.epochs holds no keys: found 1"),
        ("recipe.0=3", "recipe[0]: recipe is no list: 0 is no key of it"),
        ("0=3", "[0]: a spec is no list: 0 is no key of it"),
        ("model.1.width=3", "model[1].width: model is no list: 1 is no key of it"),
    ],
)  # fmt: skip
def test_message(override: str, message: str) -> None:
    assert load(spec(), [override]).report() == [f"--set {override}: {message}"]


def test_faults_of_file_and_override_stand_together(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("name: x\ndata: digits\nmodel: convnet\nrecipe: {epochs: 1, lr: 0}\nmethods: [dense]\n")
    assert load(path, ["seeds=3", "recipe.batch=0"]).report() == [
        f"{path}:4: recipe.lr: expected a number above 0, found 0",
        "--set recipe.batch=0: recipe.batch: expected a number not below 1, found 0",
        "--set seeds=3: seeds: expected a list, found 3; write [3]",
    ]
