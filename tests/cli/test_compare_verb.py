"""jackpot compare: what it shows of trials side by side, and what it refuses."""

import json
import re

import pytest
from command import jackpot

from orchestrator.engine.files import read_sealed, write_sealed

DENSE, RANDOM = "convnet_dense_seed0", "convnet_random_s70_seed0"
LOTTERY = "convnet_lottery-fraction0.7_s70_seed0"


@pytest.fixture
def measured(copied):
    """The sweep with numbers that are known: the lottery ticket is as accurate as the dense network, and slower."""
    for trial, accuracy, latency in ((DENSE, 0.9, 2.0), (LOTTERY, 0.9, 1.5), (RANDOM, 0.5, 3.0)):
        path = copied / "trials" / trial / "result.json"
        result = read_sealed(path)
        result["metrics"] |= {"accuracy/test": accuracy, "latency/ms/b1": latency, "latency/speedup/b1": 2 / latency}
        write_sealed(path, result)
    return copied


def rows(shown):
    """The table's rows: name -> cells."""
    assert shown.exit_code == 0, shown.stderr
    cut = [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in shown.stdout.splitlines()]
    return {name: cells for name, *cells in filter(None, cut)}


def test_what_differs_then_the_metrics_with_the_best_marked(measured):
    shown = jackpot("compare", *(f"{measured}/{trial}" for trial in (DENSE, LOTTERY, RANDOM)))
    assert shown.stdout.splitlines()[:3] == [f"1  small/{DENSE}", f"2  small/{LOTTERY}", f"3  small/{RANDOM}"]
    found = rows(shown)
    assert list(found)[:3] == ["", "label", "sparsity"]
    assert found["label"] == ["dense", "lottery-fraction0.7", "random"]
    assert found["ticket.fraction"] == ["-", "0.7", "-"]
    assert found["accuracy/test (%)"] == ["* 90.00", "* 90.00", "50.00"]
    assert found["latency/ms/b1 (ms)"] == ["2", "* 1.5", "3"]
    assert found["latency/speedup/b1 (x)"] == ["1", "* 1.333", "0.6667"]
    assert list(found).index("ticket.fraction") < list(found).index("accuracy/test (%)")
    assert "seed" not in found
    assert "recipe.epochs" not in found
    assert "status" not in found
    assert "* the best of its row" in shown.stdout


def test_all_shows_what_agrees_too(measured):
    found = rows(jackpot("compare", f"{measured}/{DENSE}", f"{measured}/{LOTTERY}", "--all"))
    assert (found["recipe.epochs"], found["seed"]) == (["1", "1"], ["0", "0"])


def test_where_all_agree_none_is_best(measured):
    found = rows(jackpot("compare", f"{measured}/{DENSE}", f"{measured}/{LOTTERY}"))
    assert found["accuracy/test (%)"] == ["90.00", "90.00"]


def test_a_trial_without_a_ticket_has_its_status_and_error(measured):
    path = measured / "trials" / RANDOM / "result.json"
    error = {"type": "OutOfMemoryError", "message": "12 [GB]\nasked", "traceback": ""}
    write_sealed(path, read_sealed(path) | {"status": "failed", "metrics": {}, "error": error})
    shown = jackpot("compare", f"{measured}/{DENSE}", f"{measured}/{RANDOM}")
    assert rows(shown)["status"] == ["done", "failed"]
    assert rows(shown)["accuracy/test (%)"] == ["90.00", "-"]
    assert f"failed: {RANDOM}: OutOfMemoryError: 12 [GB]; see `jackpot logs" in shown.stdout


def test_as_json(measured):
    found = json.loads(jackpot("compare", f"{measured}/{DENSE}", f"{measured}/{RANDOM}", "--json").stdout)
    assert [(trial["sweep"], trial["trial"]) for trial in found["trials"]] == [
        (str(measured), DENSE),
        (str(measured), RANDOM),
    ]
    assert found["differ"][:2] == ["label", "sparsity"]
    assert found["best"]["accuracy/test"] == [0]
    assert found["trials"][1]["metrics"]["accuracy/test"] == 0.5
    assert found["mlflow"]["address"] is None


def test_trials_of_several_sweeps(here, measured):
    shown = jackpot("compare", f"small/{DENSE}", f"{measured}/{DENSE}")
    assert rows(shown)["latency/ms/b1 (ms)"][1].endswith("2")
    assert "mlflow:  no comparison: these sweeps keep their runs in different databases" in shown.stdout


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        ((DENSE,), f"small/{DENSE}: name another trial to compare it with"),
        ((DENSE, LOTTERY, DENSE), f"{DENSE}: named twice"),
        ((DENSE, "small/" + DENSE), f"{DENSE}: named twice"),
        ((DENSE, "nothing"), "nothing: no such trial"),
    ],
)
def test_what_cannot_be_compared_is_refused(here, trials, said):
    shown = jackpot("compare", *trials)
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert shown.stderr.startswith(said)


def test_a_trial_without_a_result_is_refused(measured):
    (measured / "trials" / LOTTERY / "result.json").unlink()
    shown = jackpot("compare", f"{measured}/{DENSE}", f"{measured}/{LOTTERY}")
    assert (shown.exit_code, shown.stderr) == (2, f"small/{LOTTERY}: no result yet, so nothing to compare\n")


def test_the_link_to_mlflow(measured):
    """First no runs, then those of a database; and a server that is away."""
    trials = [f"{measured}/{LOTTERY}", f"{measured}/{DENSE}"]
    assert "no runs are written yet; `jackpot sync" in jackpot("compare", *trials).stdout
    assert not (measured / "mlflow.db").exists(), "looking made one"
    assert jackpot("sync", str(measured)).exit_code == 0
    said = json.loads(jackpot("compare", *trials, "--json").stdout)["mlflow"]
    assert said["served_by"].startswith("jackpot ui ")
    ids = [_run_of(measured, trial) for trial in (LOTTERY, DENSE)]
    assert said["address"].startswith(
        f"http://127.0.0.1:5000/#/compare-runs?runs=%5B%22{ids[0]}%22%2C%22{ids[1]}%22%5D&experiments=%5B%221%22%5D"
    )
    shown = jackpot("compare", *trials).stdout
    assert f"on its default port 5000, the comparison is at\n  {said['address']}\n" in shown
    spec = measured / "spec.yaml"
    spec.write_text(spec.read_text().replace("uri: null", "uri: 'http://127.0.0.1:1'"))
    shown = jackpot("compare", *trials)
    assert rows(shown)["accuracy/test (%)"] == ["90.00", "90.00"]
    assert "mlflow:  no comparison: the server does not answer" in shown.stdout


def _run_of(sweep, trial):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{sweep}/mlflow.db")
    (run,) = client.search_runs(["1"], f"tags.`jackpot.trial` = '{trial}'")
    return run.info.run_id


def test_the_best_runtime_of_each_and_why(measured):
    left = "1,310 of 1,856 channels removed, 18 % of the multiply-accumulates left"
    control = {"speedup": 1.0, "interval": [0.99, 1.01]}
    path = measured / "trials" / RANDOM / "result.json"
    result = read_sealed(path)
    dense = {"batch": 1, "runtime": "dense", "speedup": 1.0, "interval": [1.0, 1.0], "control": control, "why": "dense"}
    compact = {**dense, "runtime": "compact", "speedup": 1.6, "interval": [1.5, 1.7], "why": left}
    result["latency"] = [dense, compact]
    result["metrics"] |= {"latency/compact/ms/b1": 1.25, "latency/best/speedup/b1": 1.6}
    write_sealed(path, result)
    trials = [f"{measured}/{trial}" for trial in (DENSE, RANDOM)]
    found = rows(jackpot("compare", *trials))
    assert found["latency/compact/ms/b1 (ms)"] == ["-", "1.25"]
    assert found["latency/best/speedup/b1 (x)"] == ["-", "1.6"]
    assert found["best runtime, batch 1"][0] == "-"
    assert found["best runtime, batch 1"][1].startswith("compact: 1,310 of")
    shown = json.loads(jackpot("compare", *trials, "--json").stdout)
    assert [trial["best_runtime"] for trial in shown["trials"]] == [
        {}, {"1": {"runtime": "compact", "speedup": 1.6, "why": left}},
    ]  # fmt: skip
