"""One rack for all tests of faults: a head without trials and three workers, in one Ray; and what a sweep comes to that
nothing happens to."""

import pytest
from cluster_sweeps import EPOCHS, ClusterSweep, SweepRack
from hosts import can_host


@pytest.fixture(scope="session")
def rack(tmp_path_factory, needs_system):
    needs_system(can_host(), "network, process and mount namespaces, and ip, nsenter, setpriv and unshare (root)")
    with SweepRack(tmp_path_factory.mktemp("rack"), "red", "green", "blue") as made:
        yield made


@pytest.fixture(scope="session")
def calm(rack):
    sweep = ClusterSweep(rack, "calm", EPOCHS)
    sweep.go()
    assert sweep.process.wait(sweep.longest) == 0, sweep.said
    return sweep


@pytest.fixture
def shaken(rack, request):
    """A sweep of the test's own on the rack, which is whole again afterwards."""
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    yield ClusterSweep(rack, name, EPOCHS, seconds=10)
    rack.heal()
