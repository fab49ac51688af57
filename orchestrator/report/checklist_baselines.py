"""Whether a sweep has the baselines of the checklist, for every ticket that needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orchestrator.report.cells import Result
from orchestrator.report.checklist_facts import Facts, Item, named, percent, written
from orchestrator.report.verdicts import METRIC
from orchestrator.spec.arms import label as label_of

RANDOM = ("random", "static_sparse")
MAGNITUDE = ("magnitude_init", "one_shot", "lottery", "lr_rewinding", "fine_tune", "gmp")
"""Methods that rank all weights by magnitude, unless a layer-wise ratio is given."""
BY_MAGNITUDE = (*MAGNITUDE, "hybrid")
"""Methods that keep the largest weights of each layer, whatever the ratio."""
BEFORE_TRAINING = ("snip", "grasp", "synflow", "magnitude_init", "fisher")
"""Methods whose tickets start from the weights at initialisation: a rearranged one is a random ticket."""
CONTROLS = {"filter_prune": "random_filter", "layer_prune": "random_layer"}


def items(facts: Facts) -> Iterator[Item]:
    """Random and magnitude pruning: over all layers alike, and with each ticket's own layer-wise proportions."""
    arms = {(r["model"], r["label"], r["sparsity"]): r for r in facts.done if not r.get("check") and r["sparsity"] > 0}
    weights = [r for r in arms.values() if "target" not in r["options"] and r["method"] != "plasticity"]
    yield _everywhere(
        facts, weights, "baseline: random pruning, every layer alike", "{name: random, ratio: uniform}",
        lambda r: r["method"] in RANDOM and r["options"].get("ratio") == "uniform",
    )  # fmt: skip
    own = [r for r in weights if r["method"] not in RANDOM]
    yield _of_each(
        facts, own, "baseline: random pruning with each ticket's layer-wise proportions", "same_ratio_random"
    )
    yield _everywhere(facts, weights, "baseline: magnitude pruning, global or uniform", "one_shot", _ranks_by_magnitude)
    others = [r for r in own if r["method"] not in BY_MAGNITUDE]
    what = "baseline: magnitude pruning with each ticket's layer-wise proportions"
    yield _of_each(facts, others, what, "same_ratio_magnitude")
    yield from _structural([r for r in arms.values() if "target" in r["options"]])


def _structural(tickets: list[Result]) -> Iterator[Item]:
    """Whether filters and layers were removed at random too, to the same target; nothing where none were removed."""
    asked, there = [], set()
    for r in tickets:
        method = str(r["method"])
        arm = (r["model"], CONTROLS.get(method, method), r["options"]["target"])
        if method in CONTROLS and r["options"].get("criterion") != "random":
            asked.append(arm)
        else:
            there.add(arm)
    name = "baseline: filters or layers removed at random"
    lacking = dict.fromkeys(written({"name": arm[1], "target": arm[2]}) for arm in asked if arm not in there)
    if lacking:
        yield Item(name, "fail", f"lacking {named(lacking)}", f"methods: {' '.join(f'- {entry}' for entry in lacking)}")
    elif asked:
        yield Item(name, "pass", named(control for _, control, _ in sorted(there)))


def _ranks_by_magnitude(result: Result) -> bool:
    options = result["options"]
    if result["method"] == "hybrid":
        return options.get("ratio") == "magnitude"
    return result["method"] in MAGNITUDE and not options.get("ratio") and not options.get("ratios")


def _everywhere(facts: Facts, tickets: list[Result], name: str, entry: str, baseline: Callable[[Result], bool]) -> Item:
    """Whether some arm is the baseline at every network and sparsity at which a ticket was tested."""
    if not tickets:
        return Item(name, "not applicable", "no ticket removes single weights")
    labels = {r["label"] for r in tickets if baseline(r)}
    lacking = [
        f"{network.model} {percent(sparsity)}"
        for network in facts.networks
        for sparsity in network.sparsities
        if sparsity > 0 and not any(network.at(label, sparsity).values(METRIC) for label in labels)
    ]
    found = named(sorted(labels)) or "none"
    if lacking:
        return Item(name, "fail", f"{found}; lacking at {named(lacking)}", f"methods: - {entry}")
    return Item(name, "pass", found)


def _of_each(facts: Facts, tickets: list[Result], name: str, check: str) -> Item:
    """Whether every arm has its control of the same layer-wise proportions."""
    if not tickets:
        return Item(name, "not applicable", "no ticket that it would be told apart from")
    lacking = {r["label"]: r for r in tickets if not _controlled(facts, r, check)}
    labels = dict.fromkeys(r["label"] for r in tickets)
    if lacking:
        entries = [
            entry
            for method in {r["method"]: None for r in lacking.values()}
            for entry in _checked(facts, method, check)
        ]
        return Item(
            name, "fail", f"lacking for {named(lacking)}", f"methods: {' '.join(f'- {entry}' for entry in entries)}"
        )
    return Item(name, "pass", f"of {named(labels)}")


def _checked(facts: Facts, method: str, check: str) -> list[str]:
    """The spec's entries of a method, with a check more."""
    entries = [e for e in facts.spec.get("methods") or [] if isinstance(e, dict) and e.get("name") == method]
    return [
        written({**entry, "checks": list(dict.fromkeys([*(entry.get("checks") or []), check]))})
        for entry in entries or [{"name": method}]
    ]


def _controlled(facts: Facts, ticket: Result, check: str) -> bool:
    """Whether an arm's control was tested on the same network and sparsity: a sanity check of it, or a random ticket
    `same_as` it."""
    checks = {check, "rearrange"} if _starts_at_initialisation(ticket, check) else {check}
    for other in facts.done:
        if (other["model"], other["sparsity"]) != (ticket["model"], ticket["sparsity"]):
            continue
        if other.get("check") in checks and other["arm"] == ticket["label"]:
            return True
        if check == "same_ratio_random" and _same_as(other) == ticket["label"]:
            return True
    return False


def _starts_at_initialisation(ticket: Result, check: str) -> bool:
    return check == "same_ratio_random" and ticket["method"] in BEFORE_TRAINING


def _same_as(result: Result) -> str | None:
    """The label of the arm whose layer-wise proportions a random ticket takes."""
    same = result["options"].get("same_as") if result["method"] == "random" else None
    written = {"name": same} if isinstance(same, str) else dict(same or {})
    return label_of(str(written.pop("name")), written) if written else None
