"""The driver keeps little of trials that are over, in the structures of the Ray Tune that is installed."""

from types import SimpleNamespace

import pytest


def trial(name, over):
    metadata = SimpleNamespace(metric_analysis={"a": 1}, metric_n_steps={"a": 2}, last_result={"status": "done"})
    return SimpleNamespace(
        name=name,
        is_finished=lambda: over,
        run_metadata=metadata,
        config={"trial": name},
        evaluated_params={"trial": name},
    )


def test_trials_that_are_over_leave_the_list_and_are_emptied():
    from orchestrator.sweep.search import forget

    first, running, second, last = (trial(name, name != "running") for name in ("first", "running", "second", "last"))
    trials = [first, running, second, last]
    forget(trials)
    # Tune reads its snapshot where the list is empty at the end
    assert trials == [running, last]
    for over in (first, second):
        assert (over.config, over.evaluated_params) == ({}, {})
        assert not any(vars(over.run_metadata).values())
    for kept in (running, last):
        assert kept.config == {"trial": kept.name}
        assert kept.run_metadata.last_result == {"status": "done"}


@pytest.mark.slow
def test_tune_has_what_is_forgotten(tmp_path):
    """As Ray Tune 2.60 keeps it: a version that keeps it elsewhere would grow without a word."""
    from ray.tune.experiment import Trial
    from ray.tune.experiment.trial import _TrainingRunMetadata

    from orchestrator.sweep.search import forget

    metadata = _TrainingRunMetadata()
    metadata.last_result = {"loss": 1.0}
    metadata.update_metric("loss", 1.0, 1)
    assert {"loss"} == set(metadata.metric_analysis) == set(metadata.metric_n_steps)
    over = Trial("name", config={"trial": "a"}, evaluated_params={"trial": "a"}, stub=True)
    over.run_metadata, over.status = metadata, Trial.TERMINATED
    trials = [over, over]
    forget(trials)
    assert trials == [over]
    assert (over.config, over.evaluated_params, over.last_result.get("loss")) == ({}, {}, None)
    assert not metadata.metric_analysis
    assert not metadata.metric_n_steps
