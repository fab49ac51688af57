"""The accuracy table and its verdicts as Markdown and LaTeX, to paste into a page or a paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestrator.report import checklist, latency_winners, sanity, search_verdicts, winners
from orchestrator.report.cells import Network, Result, accuracy, networks, removed
from orchestrator.report.checklist_facts import Item
from orchestrator.report.search import Searched
from orchestrator.report.verdicts import comparisons, sentence

_NOTE = "Test accuracy in %: mean ± half of the 95 % t interval over seeds (number of seeds)."
_TESTS = "Verdicts: paired t tests over seeds, Holm's correction over all pairs of methods at a sparsity."


def markdown(
    results: Sequence[Result],
    margin: float = sanity.MARGIN,
    searched: Searched | None = None,
    demands: Sequence[Item] = (),
) -> str:
    """A table for each network, and a line for each sparsity; the search and the sanity checks, if there are any, and
    how the demands of the checklist are met."""
    parts = []
    for network in networks(results):
        rows = _rows(network, plain)
        lines = [_line(rows[0]), _line(["---", *["---:"] * (len(rows[0]) - 1)]), *map(_line, rows[1:])]
        said = [f"- {plain(head)}: {plain(text)}" for head, text in _verdicts(network)]
        won = [f"- {plain(text)}" for text in [*winners.answer(network), *latency_winners.answer(network)]]
        won = ["", "The winner at each sparsity and latency:", "", *won] if won else []
        parts.append("\n".join([f"### {plain(network.model)}", "", *lines, "", _NOTE, *said, *won]))
    parts += [_TESTS] if parts else []
    if searched:
        head, rows = (
            search_verdicts.head(searched),
            [[plain(cell) for cell in row] for row in search_verdicts.rows(searched)],
        )
        head = [plain(name) for name in head]
        lines = (
            [_line(head), _line(["---"] * len(head)), *map(_line, rows), "", f"{search_verdicts.CAPTION}."]
            if rows
            else []
        )
        said = [f"- {plain(text)}" for text in search_verdicts.sentences(searched)]
        parts.append("\n".join([f"### {plain(searched.network.model)}: search of ratios", "", *lines, *said]))
    if checks := sanity.table(sanity.checked(results, margin)):
        head = list(sanity.HEAD)
        lines = [_line(head), _line(["---"] * len(head)), *(_line([plain(cell) for cell in row]) for row in checks)]
        parts.append("\n".join(["### sanity checks", "", *lines, "", f"{plain(sanity.caption(margin))}."]))
    if demands:
        rows = [[plain(cell) for cell in row] for row in checklist.table(demands)]
        lines = [_line(checklist.HEAD), _line(["---"] * len(checklist.HEAD)), *map(_line, rows)]
        parts.append("\n".join(["### checklist", "", f"{checklist.summary(demands)}.", "", *lines]))
    return "\n\n".join(parts) + "\n"


def latex(results: Sequence[Result], margin: float = sanity.MARGIN, searched: Searched | None = None) -> str:
    """A `tabular` of booktabs' rules for each network, its verdicts as comments; one of the search and one of the
    sanity checks, if there are any."""
    parts = []
    for network in networks(results):
        head, *rows = _rows(network, _escaped, "$\\pm$")
        lines = [f"% {_escaped(network.model)}. {_NOTE.replace('±', '+-')}", *_tabular(head, rows)]
        parts.append("\n".join([*lines, *(f"% {head}: {_one_line(text)}" for head, text in _verdicts(network))]))
    parts += [f"% {_TESTS}"] if parts else []
    if searched:
        head = [_escaped(name) for name in search_verdicts.head(searched)]
        rows = [
            [_escaped(cell).replace("+-", "$\\pm$") for cell in row] for row in search_verdicts.rows(searched, "+-")
        ]
        said = [f"% {_one_line(text)}" for text in search_verdicts.sentences(searched)]
        caption = (
            f"% {_escaped(searched.network.model)}: search of ratios. {search_verdicts.CAPTION.replace('±', '+-')}."
        )
        parts.append("\n".join([caption, *(_tabular(head, rows) if rows else []), *said]))
    if checks := sanity.table(sanity.checked(results, margin), "+-"):
        rows = [[_escaped(cell).replace("+-", "$\\pm$") for cell in row] for row in checks]
        head = list(sanity.HEAD)
        parts.append("\n".join([f"% {sanity.caption(margin).replace('±', '+-')}.", *_tabular(head, rows)]))
    return "\n\n".join(parts) + "\n"


def _tabular(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        "\\toprule",
        " & ".join(head) + " \\\\",
        "\\midrule",
        *(" & ".join(row) + " \\\\" for row in rows),
        "\\bottomrule",
        "\\end{tabular}",
    ]


def _rows(network: Network, escape: Callable[[str], str], plus_minus: str = "±") -> list[list[str]]:
    cells = [
        [escape(label), *(accuracy(network.at(label, sparsity), plus_minus) for sparsity in network.sparsities)]
        for label in network.labels
    ]
    return [["method", *(escape(removed(sparsity)) for sparsity in network.sparsities)], *cells]


def _verdicts(network: Network) -> list[tuple[str, str]]:
    return [(removed(s), sentence(comparisons(network, s))) for s in network.sparsities if s > 0]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def plain(text: str) -> str:
    """Text that Markdown takes for nothing else."""
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>#|" else char for char in _one_line(text))


def _escaped(text: str) -> str:
    """Text that LaTeX takes for nothing else."""
    special = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}
    return "".join(special.get(char, f"\\{char}" if char in "&%$#_{}" else char) for char in _one_line(text))
