"""What happens to clusters changes no result: real hosts, a real Ray with its token on, the real command."""

import random
import time

import pytest
from cluster_faults import FAULTS
from cluster_sweeps import ClusterSweep
from shaken_clusters import chaos, found, shake

# one group: the tests that share the rack run in one process
SHARED = pytest.mark.xdist_group("rack")
TOGETHER = ["host gone", "cut off while waited for", "head restarted"]
"""Faults of a host each, in one sweep: starting one costs a minute."""


def unharmed(sweep, calm, faults):
    began = time.monotonic()
    shake(sweep, faults)
    came = found(sweep, calm, time.monotonic() - began)
    print(f"\n{came}")
    assert [name for name, _ in came.injected] == faults
    assert (came.lost, came.results_differ, came.mlflow_equal, came.faithful) == (0, [], True, True)
    return came


@pytest.mark.slow
@SHARED
def test_faults_one_after_the_other_change_no_result(shaken, calm):
    came = unharmed(shaken, calm, TOGETHER)
    assert came.repeated >= 1
    assert calm.trained == calm.distinct


@pytest.mark.soak
@SHARED
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_alone(shaken, calm, fault):
    shaken.seconds = 60
    unharmed(shaken, calm, [fault])


@pytest.mark.soak
@SHARED
@pytest.mark.timeout(3600)
def test_ten_minutes_of_faults_drawn_at_random(rack, calm):
    sweeps = (ClusterSweep(rack, f"chaos-{number}", seconds=20, seed=7 + number) for number in range(99))
    for sweep in chaos(sweeps, 10, random.Random(7)):
        came = found(sweep, calm, 0.0)
        print(f"\n{came}")
        assert (came.lost, came.results_differ, came.mlflow_equal, came.faithful) == (0, [], True, True)
