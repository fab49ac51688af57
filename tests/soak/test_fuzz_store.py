"""The stage store's reader against damaged files: what is whole is read, what is not is set aside, nothing else."""

from __future__ import annotations

import hashlib
import json
import logging
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fuzzing import damaged, everything, fuzz

from orchestrator.engine.files import digest
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.store import Store, to_bytes

COUNT, CUT = 100_000, 300
KEY = "ab" + "0" * 62
TENSORS = {
    "weight": torch.arange(24.0).reshape(2, 3, 4),
    "mask/a": torch.ones(5, dtype=torch.bool),
    "n": torch.tensor(3),
}
DATA = to_bytes(TENSORS, {"format": "pt"})
HEADERS: list[Any] = [
    *(None, 0, [], "x", {}, {"a": None}, {"a": []}, {"a": {"dtype": "F32"}}, {"__metadata__": 3}),
    *(
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": each}}
        for each in ([0, 4], [4, 0], [0, 2**63], [-1, 3], [0], "x")
    ),
    *(
        {"a": {"dtype": "F32", "shape": each, "data_offsets": [0, 4]}}
        for each in ([-1], [2**62, 4], [0] * 99, ["1"], None, [1.0], [1], [])
    ),
    *(
        {"a": {"dtype": each, "shape": [4], "data_offsets": [0, 4]}}
        for each in ("U8", "O", "F8_E8M0", "F8_E4M3", "F4", "C64", "", None, "F64")
    ),
    {name: {"dtype": "U8", "shape": [2], "data_offsets": [i, i + 2]} for i, name in enumerate("ab")},
    {"../../x": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}, "__metadata__": {"a": "b"}},
    {"a" * 10_000: {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}},
]
"""What a safetensors file may say of its tensors."""
RECORDS: list[Any] = [
    *(None, 0, "x", [], ["sha256"], {}, {"data": None}, {"data": []}, {"data": {}}, {"data": "../../x"}),
    *({"key": "other"}, {"schema": 0}, {"sha256": "x"}),
    *({"x": each} for each in (float("nan"), float("inf"), 10**30, "\ud800", {"": [[]]}, "x" * 10_000)),
]
"""What a record may hold."""

Files = dict[str, bytes]


def sealed(content: Any) -> bytes:
    """A record with the seal that fits it, where it can have one."""
    return json.dumps({**content, "sha256": digest(content)} if isinstance(content, dict) else content).encode()


def data(draw: random.Random) -> bytes:
    """The file of a stage's tensors: whole, damaged, or with a header that says anything."""
    kind = draw.random()
    if kind < 0.2:
        return DATA
    if kind < 0.6:
        return damaged(DATA, draw)
    header = json.dumps(draw.choice(HEADERS)).encode()
    header = damaged(header, draw) if draw.random() < 0.3 else header
    length = draw.choice((len(header),) * 4 + (0, 1, len(header) + 1, 2**31, 2**63, 2**64 - 1))
    return struct.pack("<Q", length) + header + draw.randbytes(draw.choice((0, 4, 4, 4, 100)))


def files(draw: random.Random) -> Files:
    """A sweep's files below its folder. Half of the damaged are sealed as if they were whole."""
    tensors = data(draw)
    record: Any = {"key": KEY, "kind": "train", "data": hashlib.sha256(tensors).hexdigest()}
    if draw.random() < 0.3:
        other = draw.choice(RECORDS)
        record = {**record, **other} if isinstance(other, dict) and draw.random() < 0.5 else other
    text = sealed(record)
    if draw.random() < 0.4:
        text = damaged(text, draw)
    name = f"{draw.choice((1, 7, 10**12)):09d}-{hashlib.sha256(tensors).hexdigest()[:32]}"
    name = draw.choice((name, name, name, "new", "-", "x-y-z", name[:20], f".{name}"))
    stage = f"stages/{KEY[:2]}/{KEY}"
    found = {
        f"{stage}/stage.json": text,
        f"{stage}/data.safetensors": tensors,
        f"checkpoints/{KEY}/{name}.safetensors": tensors,
        f"failures/{KEY}": text if draw.random() < 0.5 else damaged(sealed({"run": "r", "trial": "t"}), draw),
        "trials/t/result.json": text,
        "trials/t/events.jsonl": damaged(b'\n{"time": 1.0, "epoch": 2}\n{"time": 2.0}\n', draw),
    }
    for path in draw.sample(sorted(found), draw.choice((0, 0, 0, 1, 2))):
        del found[path]
    return found


def tried_in(place: Path) -> Callable[[Files], None]:
    """Lays the files out and reads them all: each twice, for what is set aside must be gone."""

    def tried(given: Files) -> None:
        folder = SweepFolder(place / "sweep")
        store = Store(folder.path)
        shutil.rmtree(folder.path, ignore_errors=True)
        for name, content in given.items():
            (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
            (folder.path / name).write_bytes(content)
        found = store.read(KEY)
        assert (found is None) == (store.read(KEY) is None) == (not store.has(KEY))
        for tensors in (found[0] if found else {}), store.load_checkpoint(KEY) or {}:
            for value in tensors.values():
                value.clone()  # touches every byte that it says it has
        if given.get(f"stages/{KEY[:2]}/{KEY}/data.safetensors") == DATA and found:
            assert all(torch.equal(found[0][name], value) for name, value in TENSORS.items())
        assert store.failed_in(KEY, "another") is None
        assert isinstance(folder.events("t"), list)
        assert isinstance(folder.result("t"), dict | None)
        assert store.stages() in ([], [KEY])
        store.litter([KEY])
        assert store.write(KEY, TENSORS, {}) == (found is None)  # there is room for it again
        assert store.read(KEY)

    return tried


def _run(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setattr("os.fsync", lambda _: None)  # a power cut is not what is tried here
    logging.getLogger("orchestrator").setLevel(logging.CRITICAL)
    before = everything(tmp_path)
    said = fuzz(count, 11, files, tried_in(place))
    outside = {path for path in everything(tmp_path) if path not in before and not path.startswith(f"{place}/sweep")}
    assert not outside
    return said


def test_a_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _run(CUT, tmp_path, monkeypatch)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_every_damage_is_found_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    print("\nstage store:", _run(COUNT, tmp_path, monkeypatch))


def test_the_damage_is_of_all_kinds(tmp_path: Path) -> None:
    """Else the reader would only ever be asked the same."""
    store, whole, sealed_well = Store(tmp_path), 0, 0
    for number in range(CUT):
        given = files(random.Random(f"11 {number}"))
        for name, content in given.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        sealed_well += store.has(KEY)
        whole += store.read(KEY) is not None
        for path in ("stages", "corrupt", "checkpoints"):
            shutil.rmtree(tmp_path / path, ignore_errors=True)
    assert CUT / 20 < whole < sealed_well < CUT * 0.9
