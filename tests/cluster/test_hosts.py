"""Hosts on one machine are as separate as real ones, and leave nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hosts import can_host, until
from racks import Rack

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def rack(tmp_path, needs_system):
    needs_system(can_host(), "network, process and mount namespaces, and ip, nsenter, setpriv and unshare (root)")
    with Rack(tmp_path / "rack", tmp_path / "shared") as made:
        yield made


@pytest.fixture
def two(rack):
    return rack.add(["red", "blue"])


def listen(host, folder):
    """Let a host answer on a port."""
    script = "import socket; s = socket.create_server(('', 5000)); [s.accept() for _ in range(9)]"
    host.start(sys.executable, "-c", script, said=folder / "said.txt")


def answers(asking, asked):
    script = f"for i in 1 2 3 4 5 6 7 8; do (exec 3<>/dev/tcp/{asked.address}/5000) && exit; sleep 0.2; done; exit 1"
    try:
        asking.run("timeout", "3", "bash", "-c", script)
        return True
    except subprocess.CalledProcessError:
        return False


def test_a_host_has_its_own_name_processes_and_tmp(two, rack, tmp_path):
    red, blue = two
    assert [host.run("hostname").strip() for host in two] == ["red", "blue"]
    red.run("touch", "/tmp/mine", rack.shared / "ours")
    assert (red.tmp / "mine").exists()
    assert not (blue.tmp / "mine").exists()
    blue.run("ls", rack.shared / "ours")
    red.start("sleep", "1234", said=tmp_path / "said.txt")
    deadline = time.monotonic() + 10
    while not red.processes("sleep 1234") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(red.processes("sleep 1234")) == 1
    assert blue.processes("sleep 1234") == {}
    assert len(red.signal(signal.SIGKILL, "sleep 1234")) == 1
    assert red.alive


def test_a_link_is_cut_and_mended(two, tmp_path):
    red, blue = two
    listen(red, tmp_path)
    assert answers(blue, red)
    red.cut()
    assert not answers(blue, red)
    red.mend()
    assert answers(blue, red)


def test_a_host_is_gone_at_once_also_with_a_connection_that_was_cut(two, rack, tmp_path):
    red, blue = two
    listen(red, tmp_path)
    assert answers(blue, red)
    talk = f"import socket, time; s = socket.create_connection(('{red.address}', 5000)); print('up', flush=True)\n"
    talk += "while True: s.send(bytes(100)); time.sleep(0.1)"
    blue.start(sys.executable, "-c", talk, said=tmp_path / "talk.txt")
    until(lambda: "up" in (tmp_path / "talk.txt").read_text(), "a connection")
    red.cut()
    time.sleep(1)
    blue.kill()  # the kernel would hold its network until it gives up what was sent
    red.mend()
    blue.boot()
    assert answers(blue, red)


def test_the_shared_folder_takes_nothing_for_a_while(two, rack):
    red, blue = two
    red.run("touch", rack.shared / "before")
    # also where there is hardly a moment in which no file is open for writing
    write = f"while :; do exec 3>> {rack.shared}/before; done 2> /dev/null"
    writing = red.start("bash", "-c", write, said=rack.folder / "writing.txt")
    for _ in range(10):
        red.read_only()
        red.writable()
    writing.kill()
    red.read_only()
    with pytest.raises(subprocess.CalledProcessError, match="non-zero"):
        red.run("touch", rack.shared / "meanwhile")
    red.run("ls", rack.shared / "before")
    blue.run("touch", rack.shared / "blue")
    red.writable()
    red.run("touch", rack.shared / "after")
    assert sorted(path.name for path in rack.shared.iterdir()) == ["after", "before", "blue"]


def test_the_shared_folder_is_full_for_a_while(two, rack):
    red, blue = two
    red.run("touch", rack.shared / "before")
    write = "head -c 100000 /dev/zero > "
    filling = threading.Thread(target=rack.fill, args=(3,))
    filling.start()
    until(lambda: shutil.disk_usage(rack.shared).free == 0, "a full disk")
    with pytest.raises(subprocess.CalledProcessError, match="non-zero"):
        red.run("sh", "-c", f"{write} {rack.shared}/meanwhile")
    filling.join()
    blue.run("sh", "-c", f"{write} {rack.shared}/after")
    assert (rack.shared / "after").stat().st_size == 100000
    assert not (rack.shared / ".ballast").exists()


def test_a_host_that_is_gone_has_no_process_left_and_starts_anew(two, tmp_path):
    red, blue = two
    listen(red, tmp_path)
    assert answers(blue, red)
    (process,) = red.processes("create_server")
    red.run("touch", "/tmp/mine")
    red.kill()
    assert not red.alive
    assert not Path(f"/proc/{process}").exists()
    red.boot()
    assert red.processes("create_server") == {}
    assert not (red.tmp / "mine").exists()
    listen(red, tmp_path)
    assert answers(blue, red)


def test_two_racks_have_the_same_addresses(two, tmp_path):
    with Rack(tmp_path / "other", tmp_path / "others") as other:
        (green,) = other.add(["red"])
        listen(two[0], tmp_path)
        assert green.address == two[0].address
        assert answers(two[1], two[0])
        assert not answers(green, green)


def test_all_of_it_ends_with_the_process_that_made_it(tmp_path, needs_system):
    needs_system(can_host(), "network, process and mount namespaces, and ip, nsenter, setpriv and unshare (root)")
    script = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(BENCHMARKS)!r})
from racks import Rack
with Rack(Path({str(tmp_path)!r}) / "rack", Path({str(tmp_path)!r}) / "shared") as rack:
    (red,) = rack.add(["red"])
    red.start("sleep", "1000", said=Path({str(tmp_path / "said.txt")!r}))
    while not red.processes("sleep 1000"):
        time.sleep(0.05)
    print(red.init, rack._switch.pid, *red.processes("sleep 1000"), flush=True)
    time.sleep(1000)
"""
    maker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    there = maker.stdout.readline().split()
    assert len(there) == 3
    assert all(Path(f"/proc/{process}").exists() for process in there)
    os.kill(maker.pid, signal.SIGKILL)
    maker.wait()
    until(lambda: not any(Path(f"/proc/{process}").exists() for process in there), "its processes to end", 10)
    until(lambda: not (tmp_path / "shared").is_mount(), "its disk to be gone", 10)
