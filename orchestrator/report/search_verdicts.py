"""Whether a searched ratio beats the formulas: in sentences, and as the table of the finalists and the formulas."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from orchestrator.report.cells import Cell, accuracy, removed
from orchestrator.report.search import Proposal, Searched, shown, title
from orchestrator.report.verdicts import METRIC, Comparison, points

CAPTION = (
    "test accuracy in %: mean ± half of the 95 % t interval (seeds). The difference is paired over seeds; p by Holm's "
    "correction over all pairs of a finalist and a formula. Validation scores steered the search: no result"
)

CHOSEN_BY = "accuracy/val"
"""What the winner is the best in, on the finalists' seeds."""
SPARSITY = 2
"""The column of `rows` that holds the sparsity."""
LEFT: Sequence[int] = (1, 6)
"""The columns of `rows` that hold words."""
WINNER = "the winner, by mean validation accuracy on the finalists' seeds: "


def told(pair: Comparison) -> str:
    """The verdict on a finalist minus a formula, in a word or two."""
    if pair.verdict != "differs" or pair.difference.estimate is None:
        return pair.verdict
    return "ahead" if pair.difference.estimate.mean > 0 else "behind"


def sentences(searched: Searched | None) -> list[str]:
    """What may be concluded, a sentence a finalist."""
    if searched is None:
        return []
    if not searched.finalists:
        return ["no finalists yet: whether a searched ratio beats the formulas cannot be said before they are tested"]
    winner = searched.summary.get("winner")
    ranked = sorted(searched.finalists, key=lambda label: label != winner)
    several = len({searched.sparsity_of(label) for label in searched.finalists}) > 1
    return [
        f"{removed(searched.sparsity_of(label))}: {text}" if several else text
        for label in ranked
        for text in [WINNER * (label == winner) + _sentence(searched, label)]
    ]


def brief(searched: Searched | None) -> list[str]:
    """What stands beside the table of the finalists: the winner's sentence, where the table says the rest. That no
    formula dominates a ratio, of two objectives, no table says."""
    said = sentences(searched)
    alone = searched is not None and searched.summary.get("winner") in searched.finalists and not _others(searched)
    return said[:1] if alone else said


def _sentence(searched: Searched, label: str) -> str:
    itself = _itself(searched, label)
    alone = label == searched.summary.get("winner") and not _others(searched)
    none_better = ", and none of the sampler's is better" if alone else ""
    name = f"searched ratio {searched.finalists[label]}{itself and f' ({itself}{none_better})'}"
    pair = searched.hardest(label)
    if pair is None:
        cell = searched.network.at(label, searched.sparsity_of(label))
        if not cell.values(METRIC):
            ended = ", ".join(f"{count} {status}" for status, count in cell.others.items())
            return f"{name} has no test accuracy ({ended or 'its trials are missing; `jackpot run` goes on with them'})"
        return f"{name}: no formula was tested on its seeds, nothing can be concluded"
    found, formula = pair.difference.estimate, formula_of(searched, pair.other)
    assert found is not None
    if found.seeds == 1:
        return f"{name} minus the best formula {formula}: {found.mean:+.2f} points; one seed: nothing can be concluded"
    if found.half_width is None or pair.adjusted is None:
        return f"{name} minus the best formula {formula}: {found.mean:+.2f} points, {pair.verdict}"
    verb = {"ahead": "beats", "behind": "is behind"}.get(told(pair), "is not told apart from")
    p = f"p by Holm {pair.adjusted:.2g}"
    amount = f"{found.mean:+.2f} ± {found.half_width:.2f} points ({_seeds(searched, pair)}, {p})"
    by = " by" if verb == "beats" else ":"
    what = f"{formula}{' in accuracy' if _others(searched) else ''}"
    return f"{name} {verb} the best formula {what}{by} {amount}{_together(searched, label)}{_untested(searched, pair)}"


def _together(searched: Searched, label: str) -> str:
    """Of several objectives the formulas that dominate a finalist by their means (at least as good in all, better in
    one): a ratio that is behind in accuracy may still be the better bargain."""
    others, sparsity = _others(searched), searched.sparsity_of(label)
    own = _means(searched, label, sparsity)
    if not others or own is None:
        return ""
    found = {name: _means(searched, arm, sparsity) for name, arm in searched.summary["formulas"].items()}
    ahead = [n for n, means in found.items() if means and means != own and all(map(operator.ge, means, own))]
    names = f"{', '.join(ahead)} {'dominates' if len(ahead) == 1 else 'dominate'}" if ahead else "no formula dominates"
    what = " and ".join(["accuracy", *(title(metric).split(",")[0] for metric in others)])
    return f"; {names} it in {what}, by the means"


def _means(searched: Searched, label: str, sparsity: float) -> list[float] | None:
    """Test accuracy and the other objectives, turned so that more is better; None where one of them has no value."""
    goals = {objective["metric"]: objective["goal"] for objective in searched.summary["objectives"]}
    cell, metrics = searched.network.at(label, sparsity), [METRIC, *_others(searched)]
    found = [(metric, cell.estimate(metric)) for metric in metrics]
    turned = [-own.mean if goals.get(metric) == "min" else own.mean for metric, own in found if own is not None]
    return turned if len(turned) == len(metrics) else None


def _itself(searched: Searched, label: str) -> str:
    """That a finalist's ratio is one of those the search began with, if it is."""
    proposal = searched.proposal(searched.finalists[label])
    began = proposal is not None and proposal["source"] != searched.summary["sampler"]["name"]
    return f"a warm start: {proposal['source']}" if proposal and began else ""


def _untested(searched: Searched, pair: Comparison) -> str:
    """The formulas that the best one was not chosen from, because they have no test accuracy."""
    formulas = searched.summary["formulas"].items()
    names = [name for name, label in formulas if not searched.tested(label, pair.sparsity)]
    return f"; formulas without a test accuracy: {', '.join(names)}" if names else ""


def _seeds(searched: Searched, pair: Comparison) -> str:
    """How many seeds a comparison rests on, and of how many that the finalists and formulas have."""
    labels = [*searched.finalists, *searched.summary["formulas"].values()]
    cells: list[Cell] = [cell for (label, _), cell in searched.network.cells.items() if label in labels]
    seeds = len({result["seed"] for cell in cells for result in cell.results})
    used = pair.difference.estimate.seeds if pair.difference.estimate else 0
    return f"{used} seeds" if used == seeds else f"{used} of {seeds} seeds"


def formula_of(searched: Searched, label: str) -> str:
    """The formula whose trials have a label."""
    return next(name for name, own in searched.summary["formulas"].items() if own == label)


def _others(searched: Searched) -> list[str]:
    """The objectives beside accuracy, of which the tested trials have a value too."""
    return [metric for metric in searched.metrics if not metric.startswith("accuracy/")]


def head(searched: Searched) -> list[str]:
    """The columns of `rows`: the result first, the score that steered the search last."""
    others = [title(metric) for metric in _others(searched)]
    steered = f"the search's {title(searched.metrics[0])}"
    verdict = "verdict on accuracy" if others else "verdict"
    judged = ["test accuracy, %", "minus the best formula, points", "p by Holm", verdict]
    return ["method", "ratio", "sparsity", *judged, *others, f"{title(CHOSEN_BY)} on the same seeds", steered]


def rows(searched: Searched, plus_minus: str = "±") -> list[list[str]]:
    """The finalists, best first, and the formulas at each of their sparsities, as texts under `head`."""
    by_sparsity: dict[float, list[str]] = {}
    for label in searched.finalists:
        by_sparsity.setdefault(searched.sparsity_of(label), []).append(label)
    made = []
    for sparsity, finalists in by_sparsity.items():
        best = set()
        for label in finalists:
            number, pair = searched.finalists[label], searched.hardest(label)
            own = [p for p in searched.scored if p["number"] == number]
            row = _row(searched, label, sparsity, _judged(pair, plus_minus), own, plus_minus)
            won = ", the winner" if label == searched.summary.get("winner") else ""
            itself = _itself(searched, label)
            made.append([label, f"searched ratio {number}{won}{itself and f', {itself}'}", *row])
            best |= {pair.other} if pair else set()
        for name, label in searched.summary["formulas"].items():
            own = [p for p in searched.scored if p["source"] == name and p["sparsity"] == sparsity]
            judged = ["", "", "the best formula" if label in best else ""]
            made.append([label, name, *_row(searched, label, sparsity, judged, own, plus_minus)])
    return made


def _judged(pair: Comparison | None, plus_minus: str) -> list[str]:
    if pair is None:
        return ["", "", ""]
    p = "" if pair.adjusted is None else f"{pair.adjusted:.2g}"
    return [points(pair.difference, plus_minus), p, told(pair)]


def _row(
    searched: Searched, label: str, sparsity: float, judged: list[str], own: Sequence[Proposal], plus_minus: str
) -> list[str]:
    cell = searched.network.at(label, sparsity)
    others = [(metric, cell.estimate(metric)) for metric in (*_others(searched), CHOSEN_BY)]
    return [
        removed(sparsity), accuracy(cell, plus_minus), *judged,
        *(shown(metric, found.mean) if found else "" for metric, found in others),
        shown(searched.metrics[0], own[0]["values"][0]) if own else "",
    ]  # fmt: skip
