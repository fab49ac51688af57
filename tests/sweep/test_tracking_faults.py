"""Sweeps whose MLflow server dies, fails, dawdles or is full: no trial fails or waits, and nothing is lost."""

import io

import pytest
from disturbed_sweeps import disturbed
from faulty_mlflow import FAULTS, faulty
from rich.console import Console
from test_full_disk import can_mount
from tracking_faults import table_of

# one group: the tests that share the one Ray run in one process
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray"), pytest.mark.usefixtures("cluster")]
TRIALS, EPOCHS = 6, 4
KILLED_WALL = 90.0
"""Seconds: the server's new start takes a core from trials of low priority, which need 5. A trial that waited for it
would wait for 300, for it starts again only after half of the trials have ended."""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server, for starting one takes half a minute; the one that is full has a disk of its own."""
    with faulty(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture(scope="module")
def undisturbed(cluster, served, tmp_path_factory):
    """What the sweep comes to with a server that is well."""
    return disturbed("nothing", tmp_path_factory.mktemp("sweeps") / "nothing", TRIALS, EPOCHS, served)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_sweep_goes_on_and_mlflow_catches_up(fault, undisturbed, served, tmp_path, needs_system):
    if fault == "nothing":
        found = undisturbed
    elif fault == "full":
        needs_system(can_mount(), "unshare and mount, and the right to use them (util-linux; root)")
        with faulty(tmp_path / "server", small=True) as small:
            found = disturbed(fault, tmp_path / fault, TRIALS, EPOCHS, small)
    else:
        found = disturbed(fault, tmp_path / fault, TRIALS, EPOCHS, served)
    assert (found.exit_code, found.statuses) == (0, ["done"] * TRIALS)
    assert (found.late, found.differences) == (None, [])
    assert "Traceback" not in found.said
    # were trials to wait for a slow server, each took 10 s more at least
    assert found.wall < (KILLED_WALL if fault == "killed" else 2 * undisturbed.wall + 10)
    assert found.close < 45
    if fault == "nothing":
        assert found.message is None
        assert "is behind" not in found.said
    elif fault != "killed":  # which may have been caught up with by then
        assert "Results are safe; `jackpot sync" in found.message
        assert SAID[fault] in found.message


SAID = {"errors": "answers with errors", "slow": "does not answer", "full": "answers with errors"}


def test_the_benchmark_prints_what_was_found(undisturbed):
    lines = io.StringIO()
    Console(file=lines, width=130).print(table_of({"nothing": [undisturbed], "errors": [undisturbed]}, TRIALS, EPOCHS))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines.getvalue().splitlines() if "│" in line]
    assert [row[0] for row in rows] == ["nothing", "errors"]
    assert rows[1][2:4] == ["1.000", "1.000"]
    assert rows[1][5:] == ["6/6", "as on disk, each once"]
