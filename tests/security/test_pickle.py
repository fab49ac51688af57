"""Nothing is unpickled that could run code: every call that might is known, and hostile files are tried on each."""

from __future__ import annotations

import ast
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hostile import pickled

from methods.ratio_file import read_ratios
from methods.transfer import Transfer
from orchestrator.api import load_ticket
from orchestrator.engine.data import DataError
from orchestrator.engine.data.cache import cached
from orchestrator.engine.data.cifar import load_cifar
from orchestrator.engine.data.image_folder import load_image_folder
from orchestrator.engine.data.unpickle import unpickle
from orchestrator.engine.files import digest, file_digest, write_sealed
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.nets import ModelError, build, load_weights
from orchestrator.engine.store import Store
from orchestrator.engine.ticket import TicketError
from orchestrator.spec import load
from orchestrator.spec.data import Cifar10, ImageFolder
from orchestrator.spec.models import Model

ROOT = Path(__file__).parents[2]
KEY = "ab" + "0" * 62

MODULES = {"pickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
CALLS = {
    *("torch.load", "torch.hub.load", "np.load", "numpy.load", "mlflow.pytorch.load_model", "mlflow.pyfunc.load_model"),
    *("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "yaml.compose"),
    *("eval", "exec", "compile", "__import__"),
}
METHODS = {
    *("load_state_dict_from_url", "get_state_dict", "read_pickle", "import_module", "extractall", "extract"),
    *("unpack_archive", "download_and_extract_archive", "system", "popen"),
}


def risky(source: str) -> list[str]:
    """The imports and calls in a source through which a file may become code."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [f"import {each.name}" for each in node.names if each.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found.append(f"from {node.module} import {', '.join(each.name for each in node.names)}")
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            shell = any(each.arg == "shell" for each in node.keywords)
            if called in CALLS or called.rpartition(".")[2] in METHODS or shell:
                found.append(ast.unparse(node))
    return found


KNOWN = {
    "methods/registry.py": ["importlib.import_module(module)"],  # of an installed package
    "orchestrator/engine/data/cache.py": [
        "np.load(path, mmap_mode='r')",  # numpy's default: no pickled objects
        "np.load(entry / f'{name}.npy', mmap_mode='r')",
    ],
    "orchestrator/engine/data/image_files.py": ["np.load(folder / 'train.npy', mmap_mode='r')"],
    "orchestrator/engine/data/unpickle.py": ["import pickle"],  # what it lets through is tested below
    "orchestrator/engine/nets/user.py": ["importlib.import_module(module_name)"],  # SECURITY.md: the spec's author
    "orchestrator/engine/nets/weights.py": [
        "import pickle",  # for its exceptions
        "known.get_state_dict(progress=False, check_hash=True, weights_only=True)",
        "torch.load(weights, map_location='cpu', weights_only=True)",
    ],
    "orchestrator/sweep/machine.py": [  # names that stand in it
        "importlib.import_module(name.lower())",
        "importlib.import_module(package)",
    ],
    "orchestrator/spec/reading.py": ["yaml.compose(text, Loader=_Loader)"],  # nodes, from which nothing is built
}


def test_every_call_that_could_run_what_it_reads_is_known() -> None:
    found = {}
    for package in ("methods", "search_spaces", "orchestrator"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if calls := risky(path.read_text()):
                found[str(path.relative_to(ROOT))] = sorted(calls)
    assert found == {name: sorted(calls) for name, calls in KNOWN.items()}


@pytest.mark.parametrize(
    "line",
    [
        *("import pickle", "from joblib import load", "torch.load(f)", "np.load(f, allow_pickle=True)"),
        *("pd.read_pickle(f)", "yaml.load(f, yaml.Loader)", "eval(text)", "tar.extractall()"),
        *("weights.get_state_dict()", "subprocess.run(text, shell=True)", "os.system(text)"),
    ],
)
def test_such_calls_are_found(line: str) -> None:
    assert risky(f"def f():\n    {line}") == [line]


# Hostile files


@pytest.fixture
def marker(tmp_path: Path) -> Any:
    """A file that hostile ones would make; it is not there afterwards."""
    path = tmp_path / "made-by-a-pickle"
    yield path
    assert not path.exists()


def test_a_hostile_pickle_does_what_it_says_to_who_unpickles_it(tmp_path: Path) -> None:
    path = tmp_path / "made"
    pickle.loads(pickled(path))
    assert path.exists()


@pytest.mark.parametrize("ending", ["pt", "pth", "safetensors"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_weights(tmp_path: Path, marker: Path, ending: str, wrapped: bool) -> None:
    path = tmp_path / f"weights.{ending}"
    path.write_bytes(pickled(marker))
    if wrapped:
        torch.save({"state_dict": _reduced(marker)}, path)
    with pytest.raises(ModelError):
        load_weights(build(Model(name="convnet"), 10, (1, 8, 8), 0), str(path))


def _reduced(marker: Path) -> Any:
    from hostile import Payload

    return Payload(marker)


def test_weights_that_torchvision_has_downloaded(tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickled(marker))
    with pytest.raises(ModelError, match="is damaged, or holds more than tensors"):
        load_weights(
            build(Model(name="torchvision.models:resnet18", weights="x"), 1000, (3, 32, 32), 0),
            "ResNet18_Weights.IMAGENET1K_V1",
        )


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("name", ["data_batch_1", "test_batch", "batches.meta"])
def test_cifar(tmp_path: Path, marker: Path, name: str) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    whole = {"data": np.zeros((10, 3072), np.uint8), "labels": list(range(10))}
    for each in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (folder / each).write_bytes(pickle.dumps(whole, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}, protocol=2))
    data = Cifar10(name="cifar10", root=str(tmp_path), download=False)
    assert load_cifar(data).classes == tuple("abcdefghij")
    (folder / name).write_bytes(pickled(marker))
    with pytest.raises(DataError, match="was not run"):
        load_cifar(data)


class _Raw:
    """An array of objects whose addresses the file says: to numpy, a way into memory."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __reduce__(self) -> Any:
        if self.how == "from a buffer":
            return np.ndarray, ((1,), np.dtype("O"), b"\x41" * 8)
        return np.empty(0).__reduce__()[0], (np.ndarray, (0,), b"b"), (1, (1,), _Flags(), False, b"\x41" * 8)


class _Flags:
    def __reduce__(self) -> Any:
        return np.dtype, ("O8", False, True), (3, "|", None, None, None, -1, -1, 0)


@pytest.mark.parametrize("how", ["from a buffer", "with the flags of numbers"])
def test_an_array_of_addresses_is_none_of_numbers(tmp_path: Path, how: str) -> None:
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({"data": _Raw(how), "labels": [0]}, protocol=2))
    with pytest.raises(DataError, match="an array of 'O8'"):
        unpickle(path, ("data", "labels"))


@pytest.mark.usefixtures("cache")
def test_the_cache_of_images(marker: Path) -> None:
    def make(folder: Path) -> dict[str, Any]:
        np.save(folder / "train.npy", np.zeros((2, 2)))
        return {}

    entry = cached("0" * 32, "making", make)
    folder = Path(entry.arrays["train"].filename).parent
    (folder / "train.npy").write_bytes(pickled(marker))
    write_sealed(folder / "meta.json", {"digests": {"train": digest("whatever")}})
    assert cached("0" * 32, "making", make).arrays["train"].sum() == 0  # made anew


def test_what_is_postscript_is_no_image(tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {marker}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("JACKPOT_CACHE", str(tmp_path / "cache"))
    for split in ("train", "test"):
        for name in "ab":
            path = tmp_path / "images" / split / name / "1.png"
            path.parent.mkdir(parents=True)
            path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(DataError, match="4 image files cannot be read"):
        load_image_folder(ImageFolder(name="image_folder", root=str(tmp_path / "images")))


def test_stages_and_checkpoints(tmp_path: Path, marker: Path) -> None:
    store = Store(tmp_path / "sweep")
    folder = store.path(KEY)
    folder.mkdir(parents=True)
    data = folder / "data.safetensors"
    data.write_bytes(pickled(marker))
    write_sealed(folder / "stage.json", {"key": KEY, "data": file_digest(data)})
    assert store.read(KEY) is None
    (folder / "stage.json").write_bytes(pickled(marker)) if folder.exists() else None
    assert store.read(KEY) is None
    checkpoint = store.folder / "checkpoints" / KEY / "000000001-x.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(pickled(marker))
    checkpoint.rename(checkpoint.with_name(f"000000001-{file_digest(checkpoint)[:32]}.safetensors"))
    assert store.load_checkpoint(KEY) is None


def test_results_tickets_ratios_and_specs(tmp_path: Path, marker: Path) -> None:
    folder = SweepFolder(tmp_path / "sweep")
    for name in ("result.json", "ticket.safetensors", "events.jsonl"):
        path = folder.trial("t") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickled(marker))
    assert folder.events("t") == []
    assert folder.result("t") is None
    with pytest.raises(TicketError):
        load_ticket(folder.trial("t"))
    with pytest.raises(ValueError, match="is no ticket"):
        Transfer.Options(ticket=str(folder.trial("t"))).about()
    ratios = tmp_path / "ratios.json"
    ratios.write_bytes(pickled(marker))
    with pytest.raises(ValueError, match="is not JSON"):
        read_ratios(str(ratios))
    spec = tmp_path / "spec.yaml"
    spec.write_bytes(pickled(marker))
    assert load(spec).problems
    assert json.dumps(load(spec).report())
