"""What cheap rungs cost and are worth, counted by hand; and Ray's scheduler over them."""

from types import SimpleNamespace

import pytest

from orchestrator.spec.search import Fidelity, Search
from orchestrator.sweep.fidelity import rungs, spearman


def way(*accuracies, end=None):
    return {
        "status": "dropped" if end is None else "done",
        "rungs": [{"epochs": 0.0, "accuracy": a} for a in accuracies],
        "metrics": {} if end is None else {"accuracy/val": end},
    }


def test_rungs_are_counted_and_ranked_over_those_that_reached_both():
    results = [
        way(0.1), way(0.2), way(0.15), way(0.3, 0.5), way(0.4, 0.7, end=0.90), way(0.5, 0.6, end=0.95), way(0.6, 0.8,
    end=0.97), ]  # fmt: skip
    found = rungs(results, [0.0, 2.0, 10.0])
    assert found["rungs"] == [
        {"epochs": 0.0, "reached": 7, "stopped": 3, "epochs_spent": 0.0},
        {"epochs": 2.0, "reached": 4, "stopped": 1, "epochs_spent": 8.0},
        {"epochs": 10.0, "reached": 3, "stopped": 0, "epochs_spent": 24.0},
    ]
    matrix = found["rank_correlation"]
    assert [matrix[i][i] for i in range(3)] == [1.0] * 3
    assert matrix[0][1] == matrix[1][0] == pytest.approx(0.8)  # ranks 1 2 3 4 against 1 3 2 4
    assert matrix[0][2] == pytest.approx(1.0)
    assert matrix[1][2] == pytest.approx(0.5)  # 2 1 3 against 1 2 3


def test_what_diverged_after_a_rung_was_not_stopped_there():
    diverged = way(0.3) | {"status": "diverged"}
    table = rungs([way(0.1), diverged, way(0.4, end=0.9)], [0.0, 2.0])["rungs"]
    assert [(row["reached"], row["stopped"]) for row in table] == [(3, 1), (1, 0)]


def test_too_few_or_equal_values_have_no_rank_correlation():
    assert rungs([way(0.1), way(0.2, end=0.5)], [0.0, 1.0])["rank_correlation"] == [[None, None], [None, None]]
    assert spearman([1, 1, 1], [1, 2, 3]) is None
    assert spearman([1, 1, 2], [3, 3, 9]) == pytest.approx(1.0)  # ties share their rank
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)


def test_asha_looks_at_every_rung_and_never_at_other_trials():
    from orchestrator.sweep.search import rung_scheduler

    search = {"method": {"name": "hybrid"}, "sparsity": 0.9}
    assert rung_scheduler(None) is None
    assert rung_scheduler(Search.model_validate(search)) is None
    fidelity = Fidelity.model_validate({"rungs": ["0ep", "1ep", "2ep"], "reduction": 3})
    scheduler = rung_scheduler(Search.model_validate(search | {"fidelity": fidelity}))

    class Trial:
        def __init__(self, name):
            self.trial_id = self.name = name

    trials = [Trial(str(i)) for i in range(9)]
    for trial in trials:
        scheduler.on_trial_add(None, trial)
    told = [scheduler.on_trial_result(None, t, {"budget": 1, "rung_accuracy": i / 10}) for i, t in enumerate(trials)]
    assert told[-1] == "CONTINUE"  # the best so far
    worst = Trial("late")
    scheduler.on_trial_add(None, worst)
    assert scheduler.on_trial_result(None, worst, {"budget": 1, "rung_accuracy": 0.05}) == "STOP"
    assert scheduler.on_trial_result(None, trials[8], {"budget": 3, "rung_accuracy": 0.9}) == "CONTINUE"
    assert scheduler.on_trial_result(None, trials[8], {"budget": 9, "rung_accuracy": 0.9}) == "CONTINUE"
    other = Trial("a finalist")
    scheduler.on_trial_add(None, other)
    assert scheduler.on_trial_result(None, other, {"done": True, "status": "done"}) == "CONTINUE"
    recorded = [milestone for milestone, _ in scheduler._brackets[0]._rungs]
    assert recorded == [9, 3, 1]


def test_a_trial_that_is_stopped_at_a_rung_has_not_ended_by_itself():
    """As Tune 2.60 tells of it: `done` is set where the scheduler says STOP, before anyone has written the result."""
    from orchestrator.sweep.search import Endings

    told = []
    endings = Endings(
        lambda trial, _: told.append(("ended", trial)), None, lambda trial: told.append(("dropped", trial))
    )
    stopped = SimpleNamespace(config={"trial": "a"}, last_result={"done": True, "status": "rung"})
    endings.on_trial_result(0, [], stopped, stopped.last_result)
    endings.on_trial_complete(0, [], stopped)
    over = SimpleNamespace(config={"trial": "b"}, last_result={"done": True, "status": "done"})
    endings.on_trial_result(0, [], over, over.last_result)
    endings.on_trial_complete(0, [], over)
    assert told == [("dropped", "a"), ("ended", "b")]
