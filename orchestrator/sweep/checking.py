"""What is wrong with a spec's search that only the network, the method and Optuna can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from functools import partial

from pydantic import ValidationError

from methods import registry
from methods.budget import total
from orchestrator.engine.plan import plan_trial
from orchestrator.engine.planning import PlanningBench
from orchestrator.engine.search import Ground
from orchestrator.engine.setting import Setting
from orchestrator.spec.messages import option_problems
from orchestrator.spec.models import Spec
from orchestrator.spec.problems import Path, Problem, SpecError, nearest
from orchestrator.spec.search import Objective, Search
from orchestrator.sweep.samplers import SamplerError, sampler_class
from search_spaces import registry as spaces


def check_search(spec: Spec) -> list[Problem]:
    """Problems of a spec's search whose data, network and recipe are right."""
    if spec.search is None:
        return []
    if len(spec.model) > 1:
        return [Problem(("search",), f"a search is about one network, and `model` names {len(spec.model)}; keep one")]
    setting = Setting(spec, spec.model[0])
    ground = Ground(setting)
    problems = list(_method(ground))
    if not problems:
        problems = [*_space(spec.search), *_sampler(spec.search)]
    if problems:
        return problems
    problems = [*_budget(ground), *_objectives(ground), *_fidelity(ground), *_coordinates(ground)]
    return problems or list(dict.fromkeys(_warm_starts(ground)))


def _said(path: Path, look: Callable[[], object]) -> Iterator[Problem]:
    """What a look raises, as a problem."""
    try:
        look()
    except SpecError as error:
        for line in error.lines:
            yield Problem(path, line.removeprefix("methods[0]").lstrip(".: "))
    except ValueError as error:
        yield Problem(path, str(error))


def _method(ground: Ground) -> Iterator[Problem]:
    path: Path = ("search", "method")
    able = [name for name in registry.names() if "ratios" in registry.get(name).Options.model_fields]
    try:
        method = ground.method
    except registry.UnknownMethod as error:
        yield Problem(path, str(error))
        return
    if method.name not in able:
        yield Problem(path, f"{method.name} takes no layer-wise ratios to search for; those that do: {', '.join(able)}")
        return
    yield from _said(path, lambda: (ground.arm({}), ground.layers))


def _space(search: Search) -> Iterator[Problem]:
    path: Path = ("search", "space")
    try:
        space = spaces.get(search.space.name)
    except LookupError as error:
        yield Problem(path, str(error.args[0]))
        return
    if not registry.get(search.method.name).meets_budget:
        able = ", ".join(name for name, each in spaces.SPACES.items() if each.proportional)
        if not space.proportional:
            yield Problem(
                path,
                f"{search.method.name} takes proportions of filters, and {space.name} goes by weights; choose {able}",
            )
        elif search.space.options.get("base") == "erk":
            yield Problem((*path, "base"), "erk goes by the shape of weights, and filters have none; choose uniform")
    try:
        space.Options.model_validate(search.space.options)
    except ValidationError as error:
        for problem in option_problems(error, search.space.options, space.Options):
            yield Problem((*path, *problem.path), problem.message)


def _sampler(search: Search) -> Iterator[Problem]:
    try:
        sampler_class(search.sampler, len(search.objectives))
    except SamplerError as error:
        yield Problem(("search", "sampler"), str(error))


def _budget(ground: Ground) -> Iterator[Problem]:
    for sparsity in ground.search.sparsity if ground.exact else ():
        if not ground.kept(sparsity):
            yield Problem(
                ("search", "sparsity"),
                f"{sparsity} keeps none of the {total(ground.layers):,} prunable weights of "
                f"{ground.setting.model.name}; lower it",
            )


def _objectives(ground: Ground) -> Iterator[Problem]:
    for i, objective in enumerate(ground.search.objectives):
        if why := _not_produced(ground, objective):
            yield Problem(("search", "objectives", i), f"{objective.metric} {why}")


def _not_produced(ground: Ground, objective: Objective) -> str | None:
    """Why no trial of the search has a metric, or all have the same."""
    spec, search = ground.setting.spec, ground.search
    name = objective.metric
    if name.endswith("/val") and not len(ground.setting.data.validation.labels):
        return "needs validation images, and data.validation holds out none; set it to 0.1, say"
    if objective.batch is not None:
        if not spec.latency.enabled:
            return "is not measured: latency.enabled is false; set it to true"
        if objective.batch not in spec.latency.batches:
            there = ", ".join(map(str, spec.latency.batches))
            return f"is not measured: latency.batches has {there}; add {objective.batch} there"
        if ground.exact:
            return (
                f"is the same for every ticket of {search.method.name}: masks alone make nothing faster; choose macs, "
                "or filter_prune as the method"
            )
    if ground.exact and len(search.sparsity) == 1 and name in ("sparsity/global", "compression_ratio"):
        return (
            f"is the same for every proposal, at the sparsity {search.sparsity[0]}; give sparsity a range [least, most]"
        )
    return None


def _fidelity(ground: Ground) -> Iterator[Problem]:
    fidelity = ground.search.fidelity
    if fidelity is None:
        return
    path: Path = ("search", "fidelity")
    if all(objective.metric != "accuracy/val" for objective in ground.search.objectives):
        yield Problem(path, "stops trials by accuracy/val, which is no objective here; add it, or leave fidelity out")
    if not len(ground.setting.data.validation.labels):
        yield Problem(path, "looks at validation images, and data.validation holds out none; set it to 0.1, say")
    if not list(_coordinates(ground)) and ground.profiles:
        yield Problem(
            path,
            f"may stop the trial of {ground.profiles[0]}, which the space {ground.search.space.name} is made from; "
            "leave fidelity out, or it out of the space's `of`",
        )
    bench = PlanningBench(ground.setting, ground.method, ground.search.seed, ground.search.sparsity[0])
    try:
        ticket = ground.method(**ground.arm({}).options).find(bench)
    except (ValueError, SpecError):
        return  # said of the method
    if ticket.trained is not None:
        yield Problem(path, f"{ground.method.name} trains its tickets itself, in one piece; leave fidelity out")
        return
    steps = [rung.iterations(ground.setting.per_epoch) for rung in fidelity.rungs]
    left = ground.setting.total_steps - ticket.weights.step
    if sorted(set(steps)) != steps or steps[-1] >= left:
        yield Problem(
            (*path, "rungs"),
            f"expected steps one after another, below the {left} steps ({left / ground.setting.per_epoch:g} epochs) "
            f"that a ticket is trained; found {', '.join(map(str, fidelity.rungs))}",
        )


def _coordinates(ground: Ground) -> Iterator[Problem]:
    yield from _said(("search", "space"), lambda: ground.space(ground.stand_ins))
    names = [layer.name for layer in ground.layers]
    for pattern in ground.search.bounds:
        if not ground.exact:
            yield Problem(
                ("search", "bounds"), f"{ground.method.name} takes proportions, which have no bounds; leave them out"
            )
            return
        if not any(fnmatch(name, pattern) for name in names):
            yield Problem(
                ("search", "bounds", pattern), f"matches no layer{nearest(pattern, names)} layers: {', '.join(names)}"
            )
    for sparsity in ground.search.sparsity if ground.exact else ():
        yield from _said(("search", "bounds"), partial(ground.bounds, ground.kept(sparsity)))


def _warm_starts(ground: Ground) -> Iterator[Problem]:
    found = list(_said(("search", "warm_starts"), lambda: ground.warm_starts))
    yield from found
    if not found and len(ground.warm_starts) >= ground.search.trials:
        count, names = len(ground.warm_starts), ", ".join(start.source for start in ground.warm_starts)
        yield Problem(
            ("search", "trials"),
            f"{ground.search.trials} leaves none to the sampler: the warm starts ({names}) are tried first; set it "
            f"above {count}, or name fewer warm_starts",
        )
    for number, start in enumerate(() if found else ground.warm_starts):
        trial = ground.proposal(number, start.options, start.sparsity)
        yield from _said(("search", "method"), partial(plan_trial, ground.setting, trial))
