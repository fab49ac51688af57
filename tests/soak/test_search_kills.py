"""Five kills -9 in a search of 60 trials: 60 ratios, each once, and those of a search that nobody disturbed."""

import json
import sqlite3

import optuna
import pytest
from kills import Sweep

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

SPEC = """
name: shaken
data: digits
model: {name: convnet, width: 0.5}
recipe: {epochs: EPOCHS}
search:
  method: hybrid
  sparsity: 0.95
  space: free
  sampler: SAMPLER
  trials: 60
  finalists: {best: 1, seeds: [100]}
latency: {enabled: false}
concurrency: 2
"""


def proposals(sweep):
    """What each proposal was: its number, trial and ratios, in the order in which they were decided on."""
    lines = (sweep.path / "search" / "decisions.jsonl").read_text().splitlines()
    said = [json.loads(line) for line in lines if line.strip()]
    return [(p["number"], p["trial"], p["options"]["ratios"]) for each in said if (p := each.get("proposal"))]


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_five_kills(tmp_path, sampler):
    spec = SPEC.replace("SAMPLER", sampler)
    calm = Sweep(tmp_path / "calm" / "sweep", epochs=16, spec=spec)
    calm.shake(0, seed=5)
    shaken = Sweep(tmp_path / "shaken" / "sweep", epochs=16, spec=spec)
    killed = shaken.shake(5, seed=5)
    print(f"\nkilled: {', '.join(killed)}; {calm.trained:g} epochs trained undisturbed, {shaken.trained:g} with kills")
    assert len(killed) == 5
    assert proposals(shaken) == proposals(calm)
    assert [number for number, *_ in proposals(shaken)] == list(range(5, 60))  # after five warm starts

    names = [f"convnet-width0.5_hybrid-search{number}_s95_seed0" for number in range(60)]
    results = [shaken.folder.result(name) for name in names]
    assert [result["status"] for result in results] == ["done"] * 60
    kept = [tuple(layer["kept"] for layer in result["layers"]) for result in results]
    assert len(set(kept)) == 60
    assert {sum(each) for each in kept} == {308}
    assert [r["metrics"]["accuracy/val"] for r in results] == [
        calm.folder.result(name)["metrics"]["accuracy/val"] for name in names
    ]

    study = optuna.load_study(study_name="shaken", storage=f"sqlite:///{shaken.path}/search/study.db")
    assert [trial.user_attrs["trial"] for trial in study.trials] == names
    assert {trial.state.name for trial in study.trials} == {"COMPLETE"}
    database = sqlite3.connect(shaken.path / "mlflow.db")
    tracked = database.execute(
        "select count(*), count(distinct value) from tags join runs using (run_uuid) "
        "where key = 'search.number' and lifecycle_stage = 'active'"
    ).fetchone()
    assert tracked == (60, 60)
