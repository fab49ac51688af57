"""Optuna's samplers by the names that a spec may use, made with its options or refused with what would work."""

from __future__ import annotations

import inspect
from typing import Any

from orchestrator.spec.problems import nearest
from orchestrator.spec.search import Chosen

SAMPLERS = {
    "tpe": "TPESampler",
    "nsga2": "NSGAIISampler",
    "nsga3": "NSGAIIISampler",
    "gp": "GPSampler",
    "cmaes": "CmaEsSampler",
    "qmc": "QMCSampler",
    "random": "RandomSampler",
}
TRIED = 12
"""Proposals that show whether a sampler works: a few more than most draw at random first."""
NOT_OF_USE = ("GridSampler", "BruteForceSampler", "PartialFixedSampler", "BaseSampler", "BaseGASampler")
"""Of Optuna's, those that want a grid or another sampler."""
ONE_OBJECTIVE = ("CmaEsSampler",)
DEFAULTS: dict[str, dict[str, Any]] = {
    "TPESampler": {"multivariate": True},  # ratios of layers depend on each other
    "QMCSampler": {"scramble": True},  # else the seed changes nothing
}


class SamplerError(ValueError):
    """A sampler that cannot be used; the message says why and what would work."""


def sampler_class(chosen: Chosen, objectives: int) -> Any:
    """Optuna's class of that name. Raises SamplerError for an unknown name, wrong options, or one that cannot do so
    many objectives."""
    import optuna

    there = [n for n in optuna.samplers.__all__ if n.endswith("Sampler") and n not in NOT_OF_USE]
    name = SAMPLERS.get(chosen.name, chosen.name)
    if name in NOT_OF_USE:
        raise SamplerError(f"{name} does not search continuous coordinates; known: {', '.join([*SAMPLERS, *there])}")
    if name not in there:
        raise SamplerError(
            f"unknown sampler {chosen.name!r}{nearest(chosen.name, [*SAMPLERS, *there])} known: "
            f"{', '.join([*SAMPLERS, *there])}"
        )
    if objectives > 1 and name in ONE_OBJECTIVE:
        raise SamplerError(f"{chosen.name} cannot do two objectives; choose tpe, nsga2, nsga3, gp, qmc or random")
    made = getattr(optuna.samplers, name)
    known = [each for each in inspect.signature(made).parameters if each not in ("self", "seed", "constraints_func")]
    if unknown := [key for key in chosen.options if key not in known]:
        raise SamplerError(f"{unknown[0]}: {chosen.name} has no such option{nearest(unknown[0], known)} known: "
                           f"{', '.join(known)}")  # fmt: skip
    _try(made, chosen, objectives)
    return made


def _try(made: Any, chosen: Chosen, objectives: int) -> None:
    """Let a sampler propose a few times. Raises SamplerError where it cannot."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize"] * objectives)
    space = {name: optuna.distributions.FloatDistribution(0, 1) for name in ("a", "b")}
    try:
        for number in range(TRIED):
            study.sampler = make(made, chosen, number)
            trial = study.ask(space)
            study.tell(trial, [trial.params["a"], trial.params["b"]][:objectives])
    except Exception as error:  # whatever Optuna raises for a value, or for a package that is not installed
        raise SamplerError(f"{chosen.name}: {' '.join(str(error).split())}; mend its options, or choose tpe") from error


def make(made: Any, chosen: Chosen, seed: int, **start: Any) -> Any:
    """A sampler of Optuna's class `made` with the spec's options; `start`: what they leave open."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental, or deprecated: the user's choice
        return made(**{**DEFAULTS.get(made.__name__, {}), **start, **chosen.options, "seed": seed})
