"""What is wrong with a spec that only nets and data can tell: merged by the command line with the problems of
its shape, so that all is reported at once."""

from __future__ import annotations

from typing import Any

from orchestrator.engine.data import DataError, check_data, load_data
from orchestrator.engine.nets import ModelError, check_model, skeleton
from orchestrator.engine.plan import Trial, plan_trial, sparsities
from orchestrator.engine.setting import Setting
from orchestrator.spec.arms import expand
from orchestrator.spec.loading import Loaded
from orchestrator.spec.models import Model, Spec
from orchestrator.spec.problems import Problem


def check(loaded: Loaded) -> list[Problem]:
    """Problems with data, networks and methods, as far as the spec's other sections let them be looked at."""
    models = loaded.parts.get("model", [])
    if "data" not in loaded.parts:
        return _check_names(models)
    if messages := check_data(loaded.parts["data"]):
        return [Problem(("data",), message) for message in messages] + _check_names(models)
    try:
        data = load_data(loaded.parts["data"])
    except DataError as error:
        return [Problem(("data",), message) for message in error.problems] + _check_names(models)
    problems = _check_models(models, len(data.classes), data.shape)
    if problems or not {"model", "recipe", "methods"} <= loaded.parts.keys():
        return problems
    # a fault in another section, such as tracking, must not hide what is wrong here
    spec = loaded.spec or Spec.model_construct(**loaded.parts)
    if len(data.train.labels) < spec.recipe.batch:
        problems.append(
            Problem(
                ("recipe", "batch"),
                f"{spec.recipe.batch} is more than the {len(data.train.labels)} training images; lower it",
            )
        )
    return problems or _check_methods(spec)


def _check_names(models: list[Model]) -> list[Problem]:
    """What is wrong with networks whose images are not known: names and options."""
    problems: list[Problem] = []
    for i, model in enumerate(models):
        try:
            skeleton(model, 10, (3, 32, 32))
        except ModelError as error:
            problems += [Problem(("model", i, *path), message) for path, message in error.problems]
    return problems


def _check_models(models: list[Model], classes: int, shape: tuple[int, int, int]) -> list[Problem]:
    problems: list[Problem] = []
    for i, model in enumerate(models):
        found: list[Any] = check_model(model, classes, shape)
        problems += [Problem(("model", i, *path), message) for path, message in found]
    return problems


def _check_methods(spec: Spec) -> list[Problem]:
    """Let every method plan every sparsity on every network, with one seed."""
    problems: dict[Problem, None] = {}
    for model in spec.model:
        setting = Setting(spec, model)
        if not setting.layers:
            return [Problem(("prunable", "exclude"), f"leaves no layer of {model.name} to prune; exclude fewer")]
        for i, method in enumerate(spec.methods):
            for arm in expand(method):
                for sparsity in sparsities(spec, arm):
                    try:
                        plan_trial(setting, Trial(model, arm, sparsity, spec.seeds[0]))
                    except ValueError as error:
                        message = f"{arm.label} on {model.name} at sparsity {sparsity}: {error}"
                        problems[Problem(("methods", i), message)] = None
    return list(problems)
