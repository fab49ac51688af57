"""Every verb on a finished sweep, and its bad input."""

import json
from decimal import Decimal
from importlib.metadata import version

import pytest
from command import SPEC, jackpot
from PIL import Image

from orchestrator.engine.files import read_sealed, write_sealed


def test_status(here):
    shown = jackpot("status", "small")
    assert shown.exit_code == 0
    assert "3 trials: 3 done" in shown.stdout
    found = json.loads(jackpot("status", "sweeps/small", "--json").stdout)
    assert found["counts"]["done"] == 3
    assert found["epochs_trained"] == found["epochs_distinct"] == 3
    assert found["driver"] is None


def test_status_of_nothing_names_what_there_is(here):
    shown = jackpot("status", "smal")
    assert shown.exit_code == 2
    assert shown.stderr == (
        "smal: no sweep here; name a sweep's folder, as `jackpot run` prints it; in ./sweeps: small\n"
    )


def test_dry_run(here, tmp_path):
    (tmp_path / "small.yaml").write_text(json.dumps(SPEC))
    new = ["run", str(tmp_path / "small.yaml"), "--dry-run", "--json", "--out", "elsewhere", "--no-time"]
    plan = json.loads(jackpot(*new).stdout)
    assert "time" not in plan
    # dense 1, random 1, lottery: the dense training and its ticket's
    assert (plan["trials"], plan["epochs_requested"], plan["epochs_distinct"], plan["epochs_to_train"]) == (3, 4, 3, 3)
    # initialise, 3 trainings, 3 evaluations, 3 latencies, the masks of random and of lottery
    assert plan["stages"] == 12
    assert not (here / "elsewhere").exists()
    again = json.loads(jackpot("run", str(tmp_path / "small.yaml"), "--dry-run", "--json").stdout)
    assert again["epochs_to_train"] == 0
    assert again["time"] == {"seconds": 0.0, "why": "nothing is left to run"}
    assert [row["done"] for row in again["planned"]] == [True] * 3
    text = jackpot("run", str(tmp_path / "small.yaml"), "--dry-run", "--only", "random").stdout
    assert text.splitlines()[0] == "convnet_random_s70_seed0: done"
    assert "1 trials" in text
    assert text.splitlines()[-1] == "time: none, nothing is left to run"


def test_run_says_what_is_wrong(here, tmp_path):
    unknown = jackpot("run", "quikstart")
    assert unknown.exit_code == 2
    assert "quickstart" in unknown.stderr
    assert jackpot("run", "quickstart", "--json").exit_code == 2
    assert jackpot("run", "quickstart", "--no-time").exit_code == 2
    override = jackpot("run", "quickstart", "--dry-run", "--set", "recipe.epoch=3")
    assert override.exit_code == 2
    assert "--set recipe.epoch=3: recipe.epoch: unknown key; did you mean 'epochs'?" in override.stderr
    only = jackpot("run", "quickstart", "--dry-run", "--only", "grasp")
    assert only.exit_code == 2
    assert only.stderr == "--only grasp: no such method in this spec; it has: dense, lottery, random-smart, snip\n"
    (tmp_path / "file").touch()
    blocked = jackpot("run", "quickstart", "--out", str(tmp_path / "file" / "sweep"))
    assert blocked.exit_code == 2
    assert "cannot be written" in blocked.stderr
    assert "--out" in blocked.stderr
    address = jackpot("run", "quickstart", "--dry-run", "--out", "nosuch://bucket/sweep")
    assert address.exit_code == 2
    assert address.stderr == "nosuch://bucket/sweep: Protocol not known: nosuch; expected s3://BUCKET/FOLDER\n"


def test_validate_reports_everything_at_once(here, tmp_path):
    (tmp_path / "bad.yaml").write_text(
        "name: x\ndata: digits\nmodel: {name: resnet20, widht: 2}\nrecipe: {epochs: 2}\n"
        "methods: [{name: lotery}]\nsparsities: [1.5]\ntracking: {uri: ./mlruns}\n"
    )
    shown = jackpot("validate", str(tmp_path / "bad.yaml"), "--json")
    assert shown.exit_code == 2
    found = json.loads(shown.stdout)
    assert not found["valid"]
    lines = [line.removeprefix(f"{tmp_path}/") for line in found["problems"]]
    assert lines[0].startswith("bad.yaml:3: model.widht: unknown option; did you mean 'width'?")
    assert lines[1].startswith("bad.yaml:5: methods[0].name: unknown method 'lotery'; did you mean 'lottery'?")
    assert lines[2] == "bad.yaml:6: sparsities[0]: expected a number below 1, found 1.5"
    assert lines[3].startswith("bad.yaml:7: tracking.uri: './mlruns' is no place MLflow keeps runs")
    assert len(lines) == 4
    assert jackpot("validate", "quickstart").stdout == "quickstart: nothing is wrong\n"


def test_validate_says_how_many_images_were_converted(here, tmp_path, monkeypatch):
    monkeypatch.setenv("JACKPOT_CACHE", str(tmp_path / "cache"))
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for i in range(2):
                mode = "L" if (split, name, i) == ("test", "dog", 1) else "RGB"
                Image.new(mode, (8, 8)).save(tmp_path / "images" / split / name / f"{i}.png")
    spec = {**SPEC, "recipe": {"epochs": 1, "batch": 2}, "data": {"name": "image_folder", "root": f"{tmp_path}/images"}}
    (tmp_path / "grey.yaml").write_text(json.dumps({**spec, "data": {**spec["data"], "validation": 0}}))
    note = f"1 images of {tmp_path}/images were not RGB (1 L) and were converted"
    first, again = (jackpot("validate", str(tmp_path / "grey.yaml")) for _ in range(2))
    assert first.stdout == again.stdout == f"{tmp_path}/grey.yaml: nothing is wrong\nnote: {note}\n"
    assert f"decoding 8 images of {tmp_path}/images, once; kept in {tmp_path}/cache/" in first.stderr
    assert again.stderr == ""
    shown = json.loads(jackpot("validate", str(tmp_path / "grey.yaml"), "--json").stdout)
    assert shown == {"valid": True, "problems": [], "notes": [note]}


def test_methods(here):
    methods = {method["name"]: method for method in json.loads(jackpot("methods", "--json").stdout)}
    assert list(methods)[:3] == ["dense", "random", "snip"]
    assert len(methods) >= 24
    for method in methods.values():
        assert method["paper"] or method["name"] == "dense"
        assert method["granularity"] in ("weight", "filter", "layer")
        assert method["prunes"].split()[0] in ("before", "after", "during", "iteratively", "elsewhere")
        assert method["cost"]
        assert all(option["description"] for option in method["options"])
    assert (methods["snip"]["prunes"], methods["gmp"]["prunes"]) == ("before training", "during training")
    assert (methods["filter_prune"]["granularity"], methods["layer_prune"]["granularity"]) == ("filter", "layer")
    shown = jackpot("methods", "lottery").stdout
    assert "paper: Frankle & Carbin" in shown
    assert "fraction (default 0.2; > 0, < 1)" in shown
    assert "scope (default global; global | layerwise)" in shown
    assert "rewind_to (default 0ep)" in shown
    wrong = jackpot("methods", "lotery")
    assert wrong.exit_code == 2
    assert "did you mean 'lottery'" in wrong.stderr


VGG = "1,1,1,1,1,1,.3177,.1731,.1119,.0725,.0466,.0294,.0179,.0103,.0054,.0024,.3"
RESNET = (
    ".1584,.1493,.1405,.1320,.1238,.1158,.1081,.1006,.0934,.0865,.0798,.0735,.0673,.0615,.0559,.0506,.0455,.0407,.0362,"
    ".0319,.0279,.0242,.0208,.0176,.0146,.0120,.0096,.0075,.0056,.0040,.0027,.0016,.0008,.3"
)


@pytest.mark.parametrize(
    ("arguments", "sparsity", "ratios", "total"),
    [
        (["--model", "vgg19"], "0.9", VGG, 20_024_000),
        (["--model", "resnet32", "--model-option", "width=2"], "0.98", RESNET, 1_855_584),
    ],
)
def test_ratios_are_the_papers(here, arguments, sparsity, ratios, total):
    shown = jackpot("ratios", *arguments, "--ratio", "smart", "--sparsity", sparsity, "--json")
    found = json.loads(shown.stdout)
    layers = found["layers"]
    assert found["weights"] == total == sum(layer["weights"] for layer in layers)
    assert sum(layer["kept"] for layer in layers) == total - round(Decimal(sparsity) * total)
    for layer, ratio in zip(layers, map(float, ratios.split(",")), strict=True):
        assert set(layer) == {"name", "weights", "kept", "keep_ratio"}
        # the vector is given to four digits, and rounded down to whole weights: one weight a layer
        assert abs(layer["kept"] - ratio * layer["weights"]) <= 1 + 0.00005 * layer["weights"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "vgg18", "--ratio", "smart", "--sparsity", "0.9"], "--model: unknown model 'vgg18'; did you"),
        (
            ["--model", "vgg19", "--ratio", "smart", "--sparsity", "0.9", "--model-option", "wide=2"],
            "--model-option: unknown option",
        ),
        (
            ["--model", "convnet", "--ratio", "erk", "--sparsity", "0.99999999"],
            "--sparsity 0.99999999: keeps none of the ",
        ),
        (
            ["--model", "vgg19", "--ratio", "smrt", "--sparsity", "0.9"],
            "unknown ratio 'smrt'; known: uniform",
        ),
        (["--model", "vgg19", "--ratio", "erk", "--sparsity", "90"], "--sparsity 90: expected a fraction"),
        (["--model", "vgg19", "--ratio", "erk", "--sparsity", "nan"], "--sparsity nan: expected a fraction"),
        (
            ["--model", "vgg19", "--ratio", "erk", "--sparsity", "0.9", "--input-shape", "32"],
            "--input-shape 32: exp",
        ),
        (["--model", "vgg19", "--ratio", "erk", "--sparsity", "0.9", "--model-option", "x"], "expected KEY=VALUE"),
    ],
)
def test_ratios_say_what_is_wrong(here, arguments, message):
    shown = jackpot("ratios", *arguments)
    assert shown.exit_code == 2
    assert message in shown.stderr


def test_logs(here):
    shown = jackpot("logs", "small/convnet_random_s70_seed0")
    assert shown.exit_code == 0
    assert shown.stdout.endswith("convnet_random_s70_seed0: done\n")
    assert jackpot("logs", "convnet_random_s70_seed0").stdout == shown.stdout
    wrong = jackpot("logs", "convnet_random_s71_seed0")
    assert wrong.exit_code == 2
    assert "no such trial" in wrong.stderr


def test_stop_where_nothing_runs(here):
    assert jackpot("stop", "small").stdout.endswith("sweeps/small: not running\n")


def test_logs_of_a_failed_trial_show_its_traceback(copied):
    path = copied / "trials/convnet_random_s70_seed0/result.json"
    error = {"type": "ValueError", "message": "no such layer", "traceback": "Traceback: in find\n"}
    write_sealed(path, {**read_sealed(path), "status": "failed", "error": error})
    shown = jackpot("logs", str(path.parent))
    assert shown.stdout.endswith("convnet_random_s70_seed0: failed\nTraceback: in find\nValueError: no such layer\n")
    shown = jackpot("status", str(copied), "--trials").stdout.splitlines()
    bad = f"  failed: convnet_random_s70_seed0: ValueError: no such layer (jackpot logs {copied}/trials/convnet_random"
    assert f"{bad}_s70_seed0)" in shown
    assert any(
        line.split() == ["convnet_random_s70_seed0", "failed", "ValueError:", "no", "such", "layer"] for line in shown
    )
    assert sum(line.startswith("  convnet_") and "  done      test accuracy " in line for line in shown) == 2


def test_sync(here):
    assert jackpot("sync", "small").stdout == "3 trials logged, 0 were up to date\n"
    assert jackpot("sync", "small").stdout == "0 trials logged, 3 were up to date\n"


def test_doctor(here):
    found = json.loads(jackpot("doctor", "--json").stdout)
    assert found["versions"]["ray"].startswith("2.60")
    assert found["cpus"] >= 1
    assert found["methods"][:2] == ["dense", "random"]


def test_version():
    assert jackpot("--version").stdout == f"jackpot {version('jackpot-tickets')}\n"


def test_new_and_schema(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert jackpot("new", "mine.yaml").exit_code == 0
    assert jackpot("validate", "mine.yaml").exit_code == 0
    again = jackpot("new", "mine.yaml")
    assert again.exit_code == 2
    assert again.stderr == "mine.yaml: exists already; name another file or remove it\n"
    assert json.loads(jackpot("schema").stdout)["properties"]["sparsities"]
    columns = {each["name"]: each for each in json.loads(jackpot("schema", "--results").stdout)["columns"]}
    assert (columns["accuracy/test"]["type"], columns["accuracy/test"]["unit"]) == ("number", "fraction")
