"""Room for what a machine keeps copies of."""

import os
import subprocess
import sys

import pytest

from orchestrator.engine import room


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Three entries of 1,000 bytes: `old`, a sweep's copy that was used later, and `new`."""
    monkeypatch.setattr(room, "_in_use", {})
    for age, name in ((300, "old"), (200, "sweeps/copy"), (100, "new")):
        entry = tmp_path / name
        entry.mkdir(parents=True)
        (entry / "content").write_bytes(bytes(1000))
        os.utime(entry, (1e9 - age, 1e9 - age))
    return tmp_path


def left(cache):
    return [name for name in ("old", "sweeps/copy", "new") if (cache / name).exists()]


def allow(monkeypatch, count):
    monkeypatch.setenv(room.LIMIT, str(count / 2**30))


def test_nothing_goes_while_there_is_room(cache, monkeypatch):
    allow(monkeypatch, 3000)
    assert room.make_room(cache) == 0
    assert left(cache) == ["old", "sweeps/copy", "new"]
    monkeypatch.delenv(room.LIMIT)
    assert room.make_room(cache) == 0, "half of a disk is more than this"


def test_the_least_recently_used_goes_first(cache, monkeypatch):
    allow(monkeypatch, 2999)
    assert room.make_room(cache) == 1000
    assert left(cache) == ["sweeps/copy", "new"]
    assert room.make_room(cache, needed=1500) == 1000
    assert left(cache) == ["new"]
    assert not list(cache.glob("**/*.gone"))


def test_what_is_in_use_stays(cache, monkeypatch):
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom orchestrator.engine.room import use\n"
        "use(Path(sys.argv[1]))\nprint('used', flush=True)\nsys.stdin.read()\n"
    )
    user = subprocess.Popen(
        [sys.executable, "-c", script, str(cache / "new")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert user.stdout.readline() == "used\n"
    room.use(cache / "old")
    allow(monkeypatch, 0)
    assert room.make_room(cache) == 1000
    assert left(cache) == ["old", "new"]
    user.communicate()
    assert room.make_room(cache) == 1000
    assert left(cache) == ["old"]


def test_what_is_being_made_stays_and_what_a_killed_process_left_goes(cache, monkeypatch):
    allow(monkeypatch, 0)
    with room.making(cache / "next") as temporary:
        (temporary / "content").write_bytes(bytes(1000))
        os.utime(temporary, (0, 0))
        room.make_room(cache)
        assert temporary.exists()
    assert (cache / "next" / "content").stat().st_size == 1000
    assert not list(cache.glob(".next.*"))
    with pytest.raises(OSError, match="a full disk"), room.making(cache / "never"):
        raise OSError("a full disk")
    (cache / ".other.0123.tmp").mkdir()
    (cache / ".other.0123.tmp" / "content").write_bytes(bytes(1000))
    room.make_room(cache)
    assert not [path for path in cache.iterdir() if path.is_dir() and path.name != "sweeps"]


def test_a_use_makes_an_entry_the_last_to_go(cache, monkeypatch):
    room.use(cache / "old")
    room._in_use.pop(cache / "old").close()
    allow(monkeypatch, 2500)
    room.make_room(cache)
    assert left(cache) == ["old", "new"]


def test_a_limit_that_is_no_number_is_said(cache, monkeypatch):
    monkeypatch.setenv(room.LIMIT, "much")
    with pytest.raises(OSError, match="JACKPOT_CACHE_GIB=much: expected a number of GiB"):
        room.make_room(cache)
