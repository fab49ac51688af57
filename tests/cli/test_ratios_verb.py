"""jackpot ratios with a space and with a file of ratios."""

from __future__ import annotations

import json

import pytest
from command import jackpot

CONVNET = ("--model", "convnet", "--sparsity", "0.9")
SMART = ("--at", "power=2", "--at", "decay=2", "--at", "classifier=-0.5228787")


def layers(*arguments: str) -> list[dict[str, object]]:
    shown = jackpot("ratios", *CONVNET, *arguments, "--json")
    assert shown.exit_code == 0, shown.stderr
    found: list[dict[str, object]] = json.loads(shown.stdout)["layers"]
    return found


def test_a_point_of_a_space_shows_its_layers() -> None:
    assert layers("--space", "polynomial", *SMART) == layers("--ratio", "smart")
    shown = jackpot("ratios", *CONVNET, "--space", "polynomial", *SMART)
    assert shown.stdout.splitlines()[-1].split() == ["all", "24112", "2411", "0.1000"]


def test_a_file_of_ratios_shows_its_layers(tmp_path) -> None:
    shown = jackpot("ratios", *CONVNET, "--ratio", "erk", "--json")
    path = tmp_path / "erk.json"
    path.write_text(shown.stdout)
    assert layers("--ratio-file", str(path)) == layers("--ratio", "erk")
    path.write_text('{"conv1": 0.5}')
    wrong = jackpot("ratios", *CONVNET, "--ratio-file", str(path))
    assert wrong.exit_code == 2
    assert "'conv2' is missing" in wrong.stderr


def test_a_space_lists_its_coordinates_and_the_formulas_it_holds() -> None:
    shown = jackpot("ratios", *CONVNET, "--space", "polynomial").stdout
    assert "classifier  -3 to 0" in shown
    said = {words[0]: words[1:] for line in shown.splitlines() if (words := line.split())}
    assert said["smart"] == ["--at", "power=2", "--at", "decay=2", "--at", "classifier=-0.522879"]
    assert said["erk"] == ["no"]
    found = json.loads(jackpot("ratios", *CONVNET, "--space", "erk_power", "--json").stdout)
    assert found["coordinates"] == {"power": [0, 2]}
    assert found["holds"]["uniform"] == {"power": 0}
    assert found["holds"]["erk"] == {"power": 1}
    assert found["holds"]["smart"] is None
    assert (found["space"], found["weights"], found["kept"]) == ("erk_power", 24112, 2411)


def test_a_space_takes_options() -> None:
    shown = jackpot("ratios", *CONVNET, "--space", "mixture", "--space-option", "of=[erk, balanced]", "--json")
    assert json.loads(shown.stdout)["coordinates"] == {"erk": [0, 1], "balanced": [0, 1]}
    shown = jackpot("ratios", "--model", "resnet20", "--sparsity", "0.9", "--space", "free")
    assert "erk           yes (22 coordinates, see --json)" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected exactly one of --ratio, --space and --ratio-file"),
        (("--ratio", "erk", "--space", "free"), "expected exactly one of"),
        (("--ratio", "erk", "--at", "power=1"), "--at and --space-option belong to --space"),
        (("--space", "fre"), "--space: unknown space 'fre'; did you mean 'free'?"),
        (
            ("--space", "polynomial", "--at", "power=2"),
            "--at: decay, classifier missing; the coordinates of polynomial are power (0 to 4), decay (0 to 4), "
            "classifier (-3 to 0)",
        ),
        (
            ("--space", "erk_power", "--at", "depth=2"),
            "--at depth=2: expected NAME=NUMBER of a coordinate of erk_power",
        ),
        (("--space", "erk_power", "--at", "power=3"), "--at power=3: expected a number from 0 to 2"),
        (("--space", "erk_power", "--at", "power=nan"), "--at power=nan: expected a number from 0 to 2"),
        (("--space", "erk_power", "--at", "power=x"), "--at power=x: expected a number from 0 to 2"),
        (("--space", "free", "--space-option", "lo=-3"), "the space free has no option 'lo'; known: low"),
        (("--space", "free", "--space-option", "low"), "--space-option low: expected KEY=VALUE"),
        (("--space", "free", "--space-option", "low=3"), "--space-option low: Input should be less than 0"),
        (
            ("--space", "mixture", "--space-option", "of=[lamp]"),
            "--space-option of: lamp is read off a trained network",
        ),
        (("--ratio-file", "nowhere.json"), "nowhere.json: cannot be read"),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[str, ...], message: str) -> None:
    shown = jackpot("ratios", *CONVNET, *arguments)
    assert shown.exit_code == 2
    assert message in shown.stderr
