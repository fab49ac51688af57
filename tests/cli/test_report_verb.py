"""jackpot report: the files and texts it writes, and what it refuses."""

from command import jackpot


def test_it_writes_the_page_and_the_table(copied):
    shown = jackpot("report", str(copied))
    assert shown.stdout == f"report:  {copied}/report.html\nresults: {copied}/results.csv\n"
    assert "lottery-fraction0.7" in (copied / "report.html").read_text()


def test_a_text_is_printed_or_written(here, tmp_path):
    shown = jackpot("report", "small", "--format", "md").stdout
    assert "| lottery-fraction0.7 |" in shown
    assert "one seed: nothing can be concluded" in shown
    assert jackpot("report", "small", "--format", "latex", "--out", str(tmp_path / "t.tex")).exit_code == 0
    assert "\\toprule" in (tmp_path / "t.tex").read_text()
    assert not (here / "sweeps/small/report.html").exists()


def test_several_sweeps(here, copied, tmp_path):
    refused = jackpot("report", "small", str(copied))
    assert (refused.exit_code, refused.stderr.split(":")[0]) == (2, "several sweeps in one page")
    both = tmp_path / "both.html"
    assert jackpot("report", "small", str(copied), "--out", str(both)).exit_code == 0
    assert both.read_text().count(">small</h2>") == 2


def test_what_is_refused(here, tmp_path):
    shown = jackpot("report", "nowhere")
    assert shown.exit_code == 2
    assert "nowhere: no sweep here" in shown.stderr
    shown = jackpot("report", "small", "--out", str(tmp_path / "no" / "report.html"))
    assert shown.exit_code == 2
    assert shown.stderr.startswith(f"--out {tmp_path}/no/report.html: there is no folder {tmp_path}/no")
    assert jackpot("report", "small", "--format", "pdf").exit_code == 2
