"""Samplers by name: those that cannot be used are refused with what would work."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from orchestrator.spec.search import Chosen
from orchestrator.sweep.samplers import SamplerError, sampler_class


@pytest.mark.parametrize(
    ("said", "objectives", "words"),
    [
        ({"name": "tpee"}, 1, ("unknown sampler 'tpee'; did you mean 'tpe'?", "known: tpe, nsga2, nsga3, gp,")),
        ({"name": "GridSampler"}, 1, ("GridSampler does not search continuous coordinates; known: tpe,",)),
        ({"name": "tpe", "n_startup": 3}, 1,
         ("n_startup: tpe has no such option; did you mean 'n_startup_trials'? known:", "multivariate")),
        ({"name": "tpe", "seed": 3}, 1, ("seed: tpe has no such option",)),
        ({"name": "tpe", "n_startup_trials": "x"}, 1, ("tpe: ", "mend its options, or choose tpe")),
        ({"name": "nsga2", "population_size": 1}, 2, ("nsga2: ", "population_size", "mend its options, or choose tpe")),
        ({"name": "cmaes"}, 2, ("cmaes cannot do two objectives; choose tpe, nsga2, nsga3, gp, qmc or random",)),
        ({"name": "CmaEsSampler"}, 2, ("CmaEsSampler cannot do two objectives; choose tpe,",)),
    ],
)  # fmt: skip
def test_a_sampler_that_cannot_be_used_is_named_with_what_would_work(
    said: dict[str, Any], objectives: int, words: tuple[str, ...]
) -> None:
    with pytest.raises(SamplerError) as error:
        sampler_class(Chosen.model_validate(said), objectives)
    for each in words:
        assert each in str(error.value)


def test_samplers_go_by_a_short_name_or_optunas() -> None:
    assert sampler_class(Chosen(name="tpe"), 2) is optuna.samplers.TPESampler
    assert sampler_class(Chosen(name="TPESampler"), 1) is optuna.samplers.TPESampler
