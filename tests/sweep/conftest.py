"""One local Ray for all tests of the sweep, and a plugin package with methods that misbehave."""

import io
import os

import pytest
from chain import CHAIN
from search_runs import SEARCH, Sweep

from orchestrator.engine.folder import SweepFolder

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
    if bench.layers[0].name.startswith("net."):
        raise RuntimeError("not here: each death costs the tests a worker's start")
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
def package(tmp_path_factory):
    """The folder in which the package is installed."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "jackpot_misbehaving.py").write_text(PLUGIN)
    points = folder / "jackpot_misbehaving-1.dist-info" / "entry_points.txt"
    points.parent.mkdir()
    points.write_text(POINTS)
    (points.parent / "METADATA").write_text("Metadata-Version: 2.1\nName: jackpot-misbehaving\nVersion: 1\n")
    return folder


@pytest.fixture
def plugin(package, monkeypatch):
    """The package's source file; for this test alone its methods are registered."""
    from methods import registry

    monkeypatch.syspath_prepend(str(package))
    registry._load_all.cache_clear()
    yield package / "jackpot_misbehaving.py"
    registry._load_all.cache_clear()


@pytest.fixture(scope="session")
def cluster(package, tmp_path_factory):
    """A local Ray with two slots, whose workers have the package."""
    import ray

    variables = {
        "HOME": str(tmp_path_factory.mktemp("home")),
        "RAY_AUTH_MODE": "disabled",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")])),
        "JACKPOT_TEST_MENDED": str(package / "mended"),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def calm(cluster, tmp_path_factory):
    """The folder of CHAIN's sweep, which nobody disturbed."""
    from rich.console import Console

    from orchestrator.api import run

    folder = tmp_path_factory.mktemp("calm") / "sweep"
    assert run(CHAIN, out=folder, console=Console(file=io.StringIO())).exit_code == 0
    return folder


@pytest.fixture
def sweep_folder(tmp_path):
    """An empty sweep folder."""
    folder = SweepFolder(tmp_path / "sweep")
    folder.prepare()
    return folder


@pytest.fixture
def start(make_spec, tmp_path):
    """Begins a search, or goes on with it, in a folder."""
    from orchestrator.engine.folder import SweepFolder

    def make(folder="sweep", hours=lambda: 0.0, spec=None, **search):
        sweep = SweepFolder(tmp_path / folder)
        sweep.prepare()
        return Sweep(make_spec(methods=[], search=SEARCH | search, **(spec or {})), sweep, hours)

    return make
