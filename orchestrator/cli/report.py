"""jackpot report: the comparison as a page, a table and text."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.common import open_sweep, said, wrong

EXAMPLES = "Examples: jackpot report quickstart | jackpot report quickstart --format latex --out table.tex"


class Format(StrEnum):
    """What a report may be written as."""

    html = "html"
    md = "md"
    latex = "latex"


def command(
    sweeps: Annotated[list[str], typer.Argument(metavar="SWEEP...", help="Sweeps' folders, or names in ./sweeps.")],
    format: Annotated[Format, typer.Option("--format", help="A page, or the accuracy table as text.")] = Format.html,
    out: Annotated[
        str | None, typer.Option("--out", help="The file (default: report.html in the sweep's folder; text: stdout).")
    ] = None,
) -> None:
    """Write report.html and results.csv, or print the accuracy table and its verdicts as Markdown or LaTeX."""
    from orchestrator.engine.files import write_text
    from orchestrator.engine.results import write_csv
    from orchestrator.report.page import read, write_report
    from orchestrator.report.text import latex, markdown

    folders = [open_sweep(sweep) for sweep in dict.fromkeys(sweeps)]
    if out is not None and not Path(out).parent.is_dir():
        wrong(f"--out {out}: there is no folder {Path(out).parent}; make it, or name another")
    with said():
        if format is Format.html:
            if len(folders) > 1 and out is None:
                wrong("several sweeps in one page: name its file with --out, e.g. --out report.html")
            print(f"report:  {write_report(folders, Path(out) if out else None)}")
            for folder in folders:
                print(f"results: {write_csv(folder)}")
            return
        found = [read(folder) for folder in folders]
        content = "\n".join(
            markdown(sweep.results, sweep.margin, sweep.searched, sweep.checklist)
            if format is Format.md
            else latex(sweep.results, sweep.margin, sweep.searched)
            for sweep in found
        )
        if out is None:
            print(content, end="")
        else:
            write_text(Path(out), content)
            print(f"report:  {out}")
