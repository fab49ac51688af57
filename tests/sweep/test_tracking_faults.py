"""Sweeps whose MLflow server dies, fails, dawdles or is full: no trial fails or waits, and nothing is lost."""

import pytest
from disturbed_sweeps import disturbed
from faulty_mlflow import FAULTS
from test_full_disk import can_mount

# one group: the tests that share the one Ray run in one process
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray"), pytest.mark.usefixtures("cluster")]
TRIALS, EPOCHS = 6, 4


@pytest.fixture(scope="session")
def undisturbed(cluster, tmp_path_factory):
    """What the sweep comes to with a server that is well."""
    return disturbed("nothing", tmp_path_factory.mktemp("well"), TRIALS, EPOCHS)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_sweep_goes_on_and_mlflow_catches_up(fault, undisturbed, tmp_path, needs_system):
    if fault == "full":
        needs_system(can_mount(), "unshare and mount, and the right to use them (util-linux; root)")
    found = undisturbed if fault == "nothing" else disturbed(fault, tmp_path, TRIALS, EPOCHS)
    print(fault, found)
    assert (found.exit_code, found.statuses) == (0, ["done"] * TRIALS)
    assert (found.late, found.differences) == (None, [])
    assert "Traceback" not in found.said
    assert found.wall < 2 * undisturbed.wall + 10  # were trials to wait for a slow server, each took 10 s more at least
    assert found.close < 45
    if fault == "nothing":
        assert found.message is None
        assert "is behind" not in found.said
    elif fault != "killed":  # which may have been caught up with by then
        assert "Results are safe; `jackpot sync" in found.message
        assert SAID[fault] in found.message


SAID = {"errors": "answers with errors", "slow": "does not answer", "full": "answers with errors"}
