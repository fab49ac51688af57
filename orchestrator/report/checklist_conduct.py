"""How a sweep was conducted: one recipe, exact budgets, honest measuring, nothing dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from orchestrator.engine.speed import verdict
from orchestrator.report.cells import Result
from orchestrator.report.checklist_facts import Facts, Item, named, percent

RUN_AGAIN = "`jackpot run` of the spec again runs what is missing or failed"


def items(facts: Facts) -> Iterator[Item]:
    """The items on what was done and measured."""
    yield reductions(facts)
    yield recipe(facts)
    yield cost(facts)
    yield tested_once(facts)
    yield denominator(facts)
    yield exact(facts)
    yield masked(facts)
    yield collapsed(facts)
    yield hosts(facts)
    yield versions(facts)
    yield complete(facts)
    yield shown(facts)
    yield latency(facts)


def reductions(facts: Facts) -> Item:
    """Both reductions of every ticket: parameters and multiply-accumulates, before over after."""
    name = "both compression ratio (parameters) and theoretical speed-up (multiply-accumulates)"
    lacking = [r["trial"] for r in facts.done if not {"compression_ratio", "macs/speedup"} <= {k for k, v in _known(r)}]
    if lacking:
        return Item(name, "fail", f"lacking in {named(lacking)}", "the sweep's results are old: run it in a new folder")
    return Item(name, "pass", f"before over after, in all {len(facts.done)} trials")


def _known(result: Result) -> list[tuple[str, float]]:
    return [(name, value) for name, value in result["metrics"].items() if value is not None]


def recipe(facts: Facts) -> Item:
    """One recipe for all methods."""
    name = "one recipe for all methods"
    recipes = [{k: v for k, v in r.get("params", {}).items() if k.startswith("recipe.")} for r in facts.done]
    if not all(recipes):
        return Item(name, "unknown", "not every result holds its recipe")
    differing = sorted(key for key in recipes[0] if len({str(own.get(key)) for own in recipes}) > 1)
    if differing:
        return Item(name, "fail", f"trials differ in {named(differing)}", "run the spec in a new folder (`--out`)")
    epochs = f": {recipes[0]['recipe.epochs']} epochs" if "recipe.epochs" in recipes[0] else ""
    return Item(name, "pass", f"the same in all {len(recipes)} trials{epochs}")


def cost(facts: Facts) -> Item:
    """The training of the whole procedure, of every ticket: how far methods differ."""
    name = "cost of the whole procedure logged"
    lacking = [r["trial"] for r in facts.done if not {"cost/epochs", "cost/train_flops"} <= {k for k, _ in _known(r)}]
    if lacking:
        return Item(name, "fail", f"lacking in {named(lacking)}", "the sweep's results are old: run it in a new folder")
    own: dict[str, list[float]] = {}
    for network in facts.networks:
        for (label, _), cell in network.cells.items():
            own.setdefault(label, []).extend(cell.values("cost/epochs").values())
    means = {label: sum(values) / len(values) for label, values in own.items() if values}
    if not means:
        return Item(name, "pass", f"epochs and FLOPs of training, in all {len(facts.done)} trials")
    low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    ratio = f", {means[high] / means[low]:.3g} times as much" if means[low] else ""
    found = f"mean epochs of training from {means[low]:.4g} ({low}) to {means[high]:.4g} ({high}){ratio}; FLOPs logged"
    return Item(name, "pass", found)


def tested_once(facts: Facts) -> Item:
    """No look at test images before the last epoch."""
    name = "test images used once, after the last epoch"
    epochs = [(r["trial"], epoch) for r in facts.results for epoch in r.get("history", [])]
    early = [trial for trial, epoch in epochs if any(key.endswith("/test") for key in epoch)]
    early += [r["trial"] for r in facts.results if r.get("search") is not None and "accuracy/test" in r["metrics"]]
    if early:
        return Item(name, "fail", f"test scores on the way of {named(early)}", "run the spec in a new folder (`--out`)")
    return Item(name, "pass", f"by construction; none of {len(epochs)} logged epochs holds a test score")


def denominator(facts: Facts) -> Item:
    """What sparsity is a fraction of."""
    name = "what sparsity is counted over"
    sizes = {r["model"]: (len(r["layers"]), _weights(r)) for r in facts.done if r["layers"]}
    if not sizes:
        return Item(name, "unknown", "no result says its layers")
    excluded = (facts.spec.get("prunable") or {}).get("exclude") or []
    apart = f" without {', '.join(map(str, excluded))}" if excluded else ""
    found = "; ".join(f"{model}: {weights:,} in {layers} layers" for model, (layers, weights) in sizes.items())
    return Item(name, "pass", f"weights of convolutions and linear maps{apart}, no biases, no normalisation: {found}")


def _weights(result: Result) -> int:
    return sum(layer["weights"] for layer in result["layers"])


def exact(facts: Facts) -> Item:
    """The sparsity that was asked for, to the weight."""
    name = "exact sparsity"
    counted = [
        r for r in facts.done if r["layers"] and "target" not in r["options"] and r["method"] != "transfer"
    ]  # whole filters meet a budget as nearly as they can; a transferred ticket keeps its own
    if not counted:
        return Item(name, "not applicable", "no ticket of masks with a budget of its own")
    off = {}
    for r in counted:
        kept, weights = sum(layer["kept"] for layer in r["layers"]), _weights(r)
        if abs(kept - (1 - Decimal(str(r["sparsity"]))) * weights) > Decimal("0.5"):  # N - round(p N), p as a decimal
            off[r["trial"]] = f"{percent(1 - kept / weights)} for {percent(r['sparsity'])}"
    if not off:
        return Item(name, "pass", f"to the weight in all {len(counted)} trials")
    remedy = "`exact: true` and `variant: exact` of the method, where it has these options"
    found = f"another in {len(off)} trials: {named(f'{trial} {how}' for trial, how in off.items())}"
    return Item(name, "fail", found, remedy)


def masked(facts: Facts) -> Item:
    """Removed weights stay removed."""
    found = f"by construction: asserted at the end of each of {len(facts.done)} trials, which else had failed"
    return Item("masks re-applied: removed weights are zero after training", "pass", found)


def collapsed(facts: Facts) -> Item:
    """No layer without a weight."""
    emptied = {r["trial"]: r.get("collapsed") for r in facts.done if r.get("collapsed")}
    if not emptied:
        return Item("no layer collapsed", "pass", f"none in {len(facts.done)} trials")
    found = f"{len(emptied)} trials: {named(f'{trial} ({layers[0]})' for trial, layers in emptied.items() if layers)}"
    return Item("no layer collapsed", "fail", found, "lower `sparsities`, or say of these that they collapsed")


def hosts(facts: Facts) -> Item:
    """One kind of machine."""
    kinds = Counter(f"{r['host']['device']}, threads a trial {r['host']['threads']}" for r in facts.done)
    timed = sorted({record["device"] for r in facts.done for record in r.get("latency", [])})
    remedy = "say in the paper which trials ran where, or run the sweep again on one kind of machine"
    found = "; ".join(f"{kind} ({n} trials)" for kind, n in kinds.most_common())
    found += f"; latency on {named(timed)}" if timed else ""
    one = len(kinds) == 1
    return Item("hardware stated, of one kind", "pass" if one else "fail", found, "" if one else remedy)


def versions(facts: Facts) -> Item:
    """One version of each library."""
    kinds = Counter(", ".join(f"{name} {version}" for name, version in r["versions"].items()) for r in facts.done)
    remedy = "install one version everywhere (`jackpot doctor` says which) and run the sweep again in a new folder"
    found = "; ".join(f"{kind} ({n} trials)" for kind, n in kinds.most_common())
    one = len(kinds) == 1
    return Item("library versions stated, one of each", "pass" if one else "fail", found, "" if one else remedy)


def complete(facts: Facts) -> Item:
    """A result of every planned trial."""
    bad = [r["trial"] for r in facts.results if r["status"] in ("failed", "blocked")]
    name = "every planned trial has a result"
    if bad or facts.missing:
        found = f"{len(facts.missing)} not run, {len(bad)} failed or blocked: {named([*bad, *facts.missing])}"
        return Item(name, "fail", found, RUN_AGAIN)
    return Item(name, "pass", f"all {len(facts.results)}")


def shown(facts: Facts) -> Item:
    """What went wrong is shown."""
    counts = Counter(r["status"] for r in facts.results if r["status"] != "done")
    found = ", ".join(f"{n} {status}" for status, n in sorted(counts.items()))
    found = f"{found}: counted in the tables and named in this report" if found else "none went wrong"
    return Item("failed and diverged trials shown, not dropped", "pass", found)


def latency(facts: Facts) -> Item:
    """Latencies that can be believed."""
    name = "latency measured exclusively and not noisy"
    records = {
        (r["structure"], r["batch"], r["runtime"], r["device"], r["threads"]): r
        for each in facts.done
        for r in each.get("latency", [])
    }
    if not records:
        return Item(name, "not applicable", "not measured; no claim of speed can be made", "latency: {enabled: true}")
    noisy = [f"{_measured(r)} ({verdict(r)})" for r in records.values() if r.get("noisy")]
    broken = [_measured(r) for r in records.values() if "error" in r]
    if noisy or broken:
        found = f"of {len(records)}, {len(noisy)} noisy and {len(broken)} not possible: {named([*noisy, *broken])}"
        return Item(name, "fail", found, "latency: {seconds: 5}, on a machine that does nothing else")
    found = f"{len(records)} measurements, none noisy; by construction while the sweep's trials on the machine pause"
    if loads := [(r["load"], r["cores"]) for r in records.values() if "load" in r and "cores" in r]:
        load, cores = max(loads)
        found += f"; load average of the minute before at most {load:g} on {cores} cores"
    return Item(name, "pass", found)


def _measured(record: Mapping[str, Any]) -> str:
    runtime = "" if record["runtime"] == "dense" else f", {record['runtime']}"
    return f"batch {record['batch']} of {record['structure'][:8]}{runtime}"
