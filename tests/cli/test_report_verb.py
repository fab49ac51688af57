"""jackpot report: the files and texts it writes, and what it refuses."""

import zipfile

from command import jackpot

from orchestrator.engine.files import read_sealed, write_sealed
from orchestrator.engine.folder import SCHEMA


def test_it_writes_the_page_and_the_table(copied):
    shown = jackpot("report", str(copied))
    assert shown.stdout == f"report:  {copied}/report.html\nresults: {copied}/results.csv\n"
    assert "lottery-fraction0.7" in (copied / "report.html").read_text()


def test_a_text_is_printed_or_written(here, tmp_path):
    shown = jackpot("report", "small", "--format", "md").stdout
    assert "| lottery-fraction0.7 |" in shown
    assert "one seed: nothing can be concluded" in shown
    assert "| at least 3 seeds everywhere | fail |" in shown
    assert "seeds: \\[0, 1, 2\\] |" in shown
    assert jackpot("report", "small", "--format", "latex", "--out", str(tmp_path / "t.tex")).exit_code == 0
    assert "\\toprule" in (tmp_path / "t.tex").read_text()
    assert not (here / "sweeps/small/report.html").exists()


def test_several_sweeps(here, copied, tmp_path):
    refused = jackpot("report", "small", str(copied))
    assert (refused.exit_code, refused.stderr.split(":")[0]) == (2, "several sweeps in one page")
    both = tmp_path / "both.html"
    assert jackpot("report", "small", str(copied), "--out", str(both)).exit_code == 0
    assert both.read_text().count(">small</h2>") == 2


def test_a_bundle_gives_the_same_table_elsewhere(copied, tmp_path, monkeypatch):
    shown = jackpot("report", str(copied), "--bundle")
    assert shown.stdout == f"bundle:  {copied}/small.zip\n"
    with zipfile.ZipFile(copied / "small.zip") as file:
        file.extractall(tmp_path / "elsewhere")
    there = tmp_path / "elsewhere/small"
    table = (there / "results.csv").read_bytes()
    (there / "results.csv").unlink()
    monkeypatch.chdir(there)
    assert jackpot("report", ".").exit_code == 0
    assert (there / "results.csv").read_bytes() == table
    texts = [jackpot("report", str(sweep), "--format", "md").stdout for sweep in (copied, there)]
    assert texts[0] == texts[1] != ""


def test_a_bundle_takes_no_format(here, copied, tmp_path):
    for options, said in [
        (("--format", "md"), "--bundle and --format md: a bundle holds the page and the table as they are"),
        (("--format", "html"), "--bundle and --format html"),
        (("--out", "x.html"), "--out x.html: a bundle is a zip; name a file that ends in .zip"),
        ((str(copied),), "several sweeps in one bundle: name its file with --out"),
        ((str(copied), "--out", str(tmp_path / "a.zip")), "two sweeps are called 'small'"),
    ]:
        shown = jackpot("report", "small", "--bundle", *options)
        assert shown.exit_code == 2
        assert shown.stderr.startswith(said)
    assert not (tmp_path / "a.zip").exists()


def test_a_result_of_a_newer_jackpot_is_refused(copied):
    path = copied / "trials/convnet_dense_seed0/result.json"
    write_sealed(path, read_sealed(path) | {"schema": 99})
    for arguments in (("report", str(copied)), ("status", str(copied)), ("logs", str(path.parent))):
        shown = jackpot(*arguments)
        assert shown.exit_code == 2
        assert shown.stderr == (
            f"{path}: a newer Jackpot wrote this result, of schema 99; this one knows schema {SCHEMA} and older. "
            "Upgrade Jackpot here\n"
        )
    assert path.exists()


def test_what_is_refused(here, tmp_path):
    shown = jackpot("report", "nowhere")
    assert shown.exit_code == 2
    assert "nowhere: no sweep here" in shown.stderr
    shown = jackpot("report", "small", "--out", str(tmp_path / "no" / "report.html"))
    assert shown.exit_code == 2
    assert shown.stderr.startswith(f"--out {tmp_path}/no/report.html: there is no folder {tmp_path}/no")
    assert jackpot("report", "small", "--format", "pdf").exit_code == 2
