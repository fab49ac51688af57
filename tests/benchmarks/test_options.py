"""What benchmarks say of bad arguments, before anything is measured."""

import importlib
import json
import sys

import pytest
from options import keep


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        ("train", ["--turns", "0"], "--turns: '0' is not a whole number, 1 at least"),
        ("train", ["--seconds", "nan"], "--seconds: 'nan' is not a positive number"),
        ("train", ["--seconds", "long"], "--seconds: 'long' is not a positive number"),
        ("train", ["--at-once", "2", "x"], "--at-once: 'x' is not a whole number"),
        ("train", ["--nets", "resnet9000"], "--nets: unknown 'resnet9000'; known: resnet20"),
        ("train", ["--kinds", "bfloat16"], "--kinds: plain and float32 first"),
        ("train", ["--root", "nowhere"], "nowhere does not exist; give the folder of the images"),
        ("accuracy", ["--root", "nowhere"], "nowhere does not exist; give the folder of the images"),
        ("accuracy", ["--seeds", "1"], "--seeds: an interval needs two at least"),
        ("accuracy", ["--nets", "vgg19"], "--nets: unknown 'vgg19'; known: digits, resnet8"),
        ("sweep", ["--trials", "1"], "--trials: a rate needs two at least"),
        ("sweep", ["--only", "noop,reel"], "--only: unknown 'reel'; known: noop, real"),
        ("sweep", ["--json", "."], "--json: . is a folder; name a file in it"),
        ("sweep", ["--nodes", "-1"], "--nodes: '-1' is not a whole number, 1 at least"),
        ("train", ["--json", "/dev/null/some.json"], "nothing can be written in /dev/null"),
        ("latency", ["--threads", "-1"], "--threads: '-1' is not a whole number"),
        (
            "latency",
            ["--quick", "--only", "snip"],
            "they are convnet random-uniform 90 %, convnet filter_prune-macs 50 %",
        ),
    ],
)
def test_what_is_wrong_is_said(script, arguments, said, monkeypatch, capsys, tmp_path):
    module = importlib.import_module(script)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *arguments])
    monkeypatch.setattr(module, "with_huge_pages", lambda: None, raising=False)  # it starts the process anew
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_folder_of_images_is_named_with_what_it_lacks(monkeypatch, capsys, tmp_path):
    import train

    (tmp_path / "train").mkdir()
    monkeypatch.setattr(sys, "argv", ["train.py", "--root", str(tmp_path)])
    with pytest.raises(SystemExit):
        train.main()
    assert f"--root: {tmp_path} has no test/; expected train/ and test/" in " ".join(capsys.readouterr().err.split())


def test_figures_are_kept_where_they_are_asked_for(tmp_path, capsys):
    keep(tmp_path / "some.json", {"rows": [1]})
    assert json.loads((tmp_path / "some.json").read_text()) == {"rows": [1]}
    assert capsys.readouterr().out == f"figures: {tmp_path}/some.json\n"
