"""What a search leaves in its sweep's folder: a summary for reports, the study for Optuna's tools, the best ratios."""

from __future__ import annotations

import json
import os
import warnings
from typing import Any

from orchestrator.engine.files import replacing, write_sealed, write_text
from orchestrator.engine.trials import model_label
from orchestrator.sweep.choosing import hypervolume, pareto
from orchestrator.sweep.fidelity import rungs
from orchestrator.sweep.ratio_search import RatioSearch

SCHEMA = 1
ENOUGH = 10
"""Fewer results say nothing of which coordinate matters."""


def write_all(search: RatioSearch) -> None:
    """Write all of it, each file whole or not at all."""
    write_summary(search, whole=True)
    write_study(search)
    write_ratios(search)


def write_summary(search: RatioSearch, whole: bool = False) -> None:
    """Write search/summary.json; `whole`: with what takes seconds."""
    write_sealed(search.folder.path / "search" / "summary.json", summary(search, whole))


def summary(search: RatioSearch, whole: bool) -> dict[str, Any]:
    """How a search stands."""
    said, values = search.search.model_dump(mode="json"), search.all_values
    two = len(search.ups) == 2
    return {
        "schema": SCHEMA,
        "model": model_label(search.setting.model),
        "method": search.ground.method.name,
        "sparsity": [float(each) for each in search.search.sparsity],
        "space": said["space"],
        "coordinates": search.ground.coordinates(search.looked_at),
        "sampler": said["sampler"],
        **{key: said[key] for key in ("seed", "concurrency", "trials")},
        "objectives": [{"metric": o.metric, "goal": "max" if o.up else "min"} for o in search.search.objectives],
        "proposals": [_proposal(search, number) for number in sorted(search.trials)],
        "over": search.over,
        "best": search.best if search.complete else [],
        "pareto": pareto(values, search.ups) if two else [],
        "hypervolume": _hypervolume(search) if two and values else None,
        "importances": _importances(search) if whole else [],
        "finalists": _finalists(search),
        "winner": winner(search),
        "formulas": {name: search.ground.arm(options).label for name, options in search.ground.formulas.items()}
        if search.search.finalists.best
        else {},
        "fidelity": _fidelity(search),
    }


def _fidelity(search: RatioSearch) -> dict[str, Any] | None:
    fidelity = search.search.fidelity
    if fidelity is None:
        return None
    per_epoch = search.setting.per_epoch
    whole = search.trials[0].chain.trainings[-1].steps if search.trials else 0
    steps = [*(rung.iterations(per_epoch) for rung in fidelity.rungs), whole]
    results = [found for number in sorted(search.trials) if (found := search.result(number))]
    return rungs(results, [each / per_epoch for each in steps])


def _proposal(search: RatioSearch, number: int) -> dict[str, Any]:
    planned = search.trials[number]
    result = search.result(number) or search.folder.result(planned.id, planned.chain.key)
    starts = search.ground.warm_starts
    values = search.values(result)
    return {
        "number": number,
        "trial": planned.id,
        "source": starts[number].source if number < search.first else search.search.sampler.name,
        "sparsity": float(planned.trial.sparsity),
        "params": search.point(number),
        "status": result["status"] if result else "missing",
        "values": list(values) if values else None,
        "rungs": result.get("rungs", []) if result else [],
    }


def _finalists(search: RatioSearch) -> list[dict[str, Any]]:
    found = {}
    for decided in search.decisions.finalists:
        if decided.place is not None and search.chosen:
            found[decided.place] = {
                "number": decided.number,
                "label": search.plan.by_id[decided.trial].trial.arm.label,
                "place": decided.place,
            }
    return [found[place] for place in sorted(found)]


def winner(search: RatioSearch) -> str | None:
    """The label of the finalist with the highest mean validation accuracy over the finalists' seeds; of equals the one
    that the search put first. None until all of them have ended."""
    means: dict[str, list[float]] = {}
    for decided in search.decisions.finalists if search.chosen else ():
        planned = search.plan.by_id[decided.trial]
        if decided.place is None:
            continue
        result = search.folder.result(planned.id, planned.chain.key)
        if result is None:
            return None
        value = result["metrics"].get("accuracy/val", 0.0) if result["status"] == "done" else 0.0
        means.setdefault(planned.trial.arm.label, []).append(value)
    return max(means, key=lambda label: sum(means[label]) / len(means[label]), default=None)


def _hypervolume(search: RatioSearch) -> dict[str, Any]:
    return {
        "reference": search.reference,
        "value": hypervolume(search.all_values, search.ups, search.reference),
    }


def _importances(search: RatioSearch) -> list[dict[str, float]]:
    """Of each objective, how much of its variance each coordinate explains (fANOVA: Hutter et al., ICML 2014)."""
    import optuna

    study = _study(search, None, search.folder.name)
    done = [t for t in study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE]) if t.params]
    if len(done) < ENOUGH:
        return [{} for _ in search.ups]
    found = []
    for i in range(len(search.ups)):
        try:
            found.append(
                optuna.importance.get_param_importances(
                    study,
                    evaluator=optuna.importance.FanovaImportanceEvaluator(seed=search.search.seed % 2**32),
                    target=lambda trial, i=i: trial.values[i],
                )
            )
        except (RuntimeError, ValueError):  # all values alike: nothing explains them
            found.append({})
    return found


def write_study(search: RatioSearch) -> None:
    """Write search/study.db, which `optuna-dashboard sqlite:///.../study.db` opens."""
    with replacing(search.folder.path / "search" / "study.db") as temporary:
        _study(search, f"sqlite:///{temporary}", search.spec.name)


def _study(search: RatioSearch, storage: Any, name: str) -> Any:
    """Every proposal as a trial of an Optuna study."""
    import optuna
    from optuna.distributions import FloatDistribution
    from optuna.trial import TrialState, create_trial

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    directions = ["maximize" if up else "minimize" for up in search.ups]
    study = optuna.create_study(storage=storage, study_name=name, directions=directions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental: the names are all it does
        study.set_metric_names([objective.metric for objective in search.search.objectives])
    space = {n: FloatDistribution(*pair) for n, pair in search.ground.coordinates(search.looked_at).items()}
    states = {"done": TrialState.COMPLETE, "dropped": TrialState.PRUNED, "missing": TrialState.RUNNING}
    for number in sorted(search.trials):
        said = _proposal(search, number)
        state = states.get(said["status"], TrialState.FAIL)
        if state is TrialState.COMPLETE and said["values"] is None:
            state = TrialState.FAIL
        rungs = [rung["accuracy"] for rung in said["rungs"]] if len(search.ups) == 1 else []
        study.add_trial(
            create_trial(
                state=state,
                values=said["values"] if state is TrialState.COMPLETE else None,
                params=said["params"] or {},
                distributions=space if said["params"] else {},
                intermediate_values=dict(enumerate(rungs)),
                user_attrs={"trial": said["trial"], "source": said["source"], "sparsity": said["sparsity"]},
            )
        )
    return study


def write_ratios(search: RatioSearch) -> None:
    """Write the keep ratio of every layer, as files that `ratios:` takes in any spec: ratios/best.json, the winner's
    (the best proposal's until the finalists have ended), and with two objectives ratios/pareto-N.json of each proposal
    N of the Pareto set. What an earlier run of the search left goes."""
    folder = search.folder.path / "ratios"
    wanted: dict[str, int] = {}
    if search.all_values:
        finalists = {finalist["label"]: finalist["number"] for finalist in _finalists(search)}
        wanted["best.json"] = finalists.get(winner(search) or "", search.best[0])
    if len(search.ups) == 2:
        wanted |= {f"pareto-{number}.json": number for number in pareto(search.all_values, search.ups)}
    found = {name: rows for name, number in wanted.items() if (rows := _rows(search, number))}
    for name, rows in found.items():
        write_text(folder / name, json.dumps(rows, indent=1) + "\n")
    for path in folder.glob("*.json"):
        if path.name not in found:
            os.unlink(path)


def _rows(search: RatioSearch, number: int) -> dict[str, float] | None:
    ratios = search.options(number).get("ratios")
    return {name: float(ratio) for name, ratio in ratios.items()} if ratios else None
