"""One local Ray for all tests of the sweep, and a plugin package with methods that misbehave."""

import io
import os
import sys

import pytest
from chain import CHAIN

PLUGIN = '''
"""Methods that misbehave, for tests."""
import os
import signal
from pathlib import Path

import torch

from methods import budget, method
from methods.bench import Ticket
from methods.masks import keep_largest


class Base(method.Method):
    ticket, summary, paper, uses_data = "initial", "for tests", "none", False

    def find(self, bench):
        weights = bench.initialise()
        keep = budget.kept(budget.total(bench.layers), bench.sparsity)
        return Ticket(weights, bench.compute(type(self).masks, weights, keep=keep))


def smallest(bench, weights, keep):
    return keep_largest({layer.name: -weights[layer.parameter].abs() for layer in bench.layers}, keep)


def broken(bench, weights, keep):
    if Path(os.environ["JACKPOT_TEST_MENDED"]).exists():
        return smallest(bench, weights, keep)
    raise RuntimeError("this method is broken")


def hungry(bench, weights, keep):
    raise torch.OutOfMemoryError("tried to allocate too much")


def poisoned(bench, weights, keep):
    os.kill(os.getpid(), signal.SIGKILL)


class Smallest(Base):
    name, masks = "smallest", smallest


class Broken(Base):
    name, masks = "broken", broken


class Hungry(Base):
    name, masks = "hungry", hungry


class Poisoned(Base):
    name, masks = "poisoned", poisoned
'''

POINTS = """[jackpot.methods]
smallest = jackpot_misbehaving:Smallest
broken = jackpot_misbehaving:Broken
hungry = jackpot_misbehaving:Hungry
poisoned = jackpot_misbehaving:Poisoned
absent = jackpot_not_there:Absent
"""


@pytest.fixture(scope="session")
def plugin(tmp_path_factory):
    """The package's source file; its methods are registered, as those of an installed package are."""
    from methods import registry

    folder = tmp_path_factory.mktemp("plugin")
    source = folder / "jackpot_misbehaving.py"
    source.write_text(PLUGIN)
    points = folder / "jackpot_misbehaving-1.dist-info" / "entry_points.txt"
    points.parent.mkdir()
    points.write_text(POINTS)
    (points.parent / "METADATA").write_text("Metadata-Version: 2.1\nName: jackpot-misbehaving\nVersion: 1\n")
    before = {key: os.environ.get(key) for key in ("PYTHONPATH", "JACKPOT_TEST_MENDED")}
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), before["PYTHONPATH"]]))
    os.environ["JACKPOT_TEST_MENDED"] = str(folder / "mended")
    sys.path.insert(0, str(folder))
    registry._load_all.cache_clear()
    yield source
    sys.path.remove(str(folder))
    registry._load_all.cache_clear()
    for key, value in before.items():
        os.environ.pop(key) if value is None else os.environ.update({key: value})


@pytest.fixture(scope="session")
def cluster(plugin, tmp_path_factory):
    """A local Ray with two slots."""
    home, mode = os.environ.get("HOME"), os.environ.get("RAY_AUTH_MODE")
    os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))
    os.environ["RAY_AUTH_MODE"] = "disabled"
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
    for key, value in {"HOME": home, "RAY_AUTH_MODE": mode}.items():
        os.environ.pop(key) if value is None else os.environ.update({key: value})


@pytest.fixture(scope="session")
def calm(cluster, tmp_path_factory):
    """The folder of CHAIN's sweep, which nobody disturbed."""
    from rich.console import Console

    from orchestrator.api import run

    folder = tmp_path_factory.mktemp("calm") / "sweep"
    assert run(CHAIN, out=folder, console=Console(file=io.StringIO())).exit_code == 0
    return folder
