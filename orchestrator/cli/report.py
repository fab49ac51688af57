"""jackpot report: the comparison as a page, a table and text."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.common import open_sweep, said, wrong

if TYPE_CHECKING:
    from orchestrator.engine.folder import SweepFolder

EXAMPLES = (
    "Examples: jackpot report quickstart | jackpot report quickstart --format latex --out table.tex | "
    "jackpot report quickstart --bundle"
)


class Format(StrEnum):
    """What a report may be written as."""

    html = "html"
    md = "md"
    latex = "latex"


def command(
    sweeps: Annotated[list[str], typer.Argument(metavar="SWEEP...", help="Sweeps' folders, or names in ./sweeps.")],
    format: Annotated[
        Format | None, typer.Option("--format", help="A page (default), or the accuracy table as text.")
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", help="The file (default: report.html or NAME.zip in the sweep's folder; text: stdout)."),
    ] = None,
    bundle: Annotated[
        bool, typer.Option("--bundle", help="Pack spec, results, table, page and versions into one zip to hand on.")
    ] = False,
) -> None:
    """Write report.html and results.csv, or print the accuracy table and its verdicts as Markdown or LaTeX, or pack all
    of it into a zip."""
    from orchestrator.engine.files import write_text
    from orchestrator.engine.results import write_csv
    from orchestrator.report.page import read, write_report
    from orchestrator.report.text import latex, markdown

    folders = [open_sweep(sweep) for sweep in dict.fromkeys(sweeps)]
    if out is not None and not Path(out).parent.is_dir():
        wrong(f"--out {out}: there is no folder {Path(out).parent}; make it, or name another")
    if bundle:
        _bundle(folders, format, out)
        return
    with said():
        if format in (None, Format.html):
            if len(folders) > 1 and out is None:
                wrong("several sweeps in one page: name its file with --out, e.g. --out report.html")
            print(f"report:  {write_report(folders, Path(out) if out else None)}")
            for folder in folders:
                print(f"results: {write_csv(folder)}")
                folder.push()
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


def _bundle(folders: list[SweepFolder], format: Format | None, out: str | None) -> None:
    from orchestrator.report.bundle import write_bundle

    if format is not None:
        wrong(f"--bundle and --format {format}: a bundle holds the page and the table as they are; leave one out")
    if out is not None and Path(out).suffix != ".zip":
        wrong(f"--out {out}: a bundle is a zip; name a file that ends in .zip")
    if len(folders) > 1 and out is None:
        wrong("several sweeps in one bundle: name its file with --out, e.g. --out sweeps.zip")
    with said():
        print(f"bundle:  {write_bundle(folders, Path(out) if out else None)}")
