"""A real host on this machine, with its own processes, network, mounts, name and /tmp, on the switch of a rack.

A host is a set of Linux namespaces, so what kills processes in it kills only its own, and its link can be cut. It ends
with the process that made it, however that dies; needs root, util-linux and iproute2.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

TOOLS = ("ip", "nsenter", "setpriv", "unshare")
ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL")
NAMESPACES = ("--mount", "--uts", "--net", "--pid")
# the first process of a host: it adopts orphans, and the host is gone when it is
INIT = """
hostname "$1"
mount -t tmpfs shm /dev/shm
mount --rbind /tmp /mnt && mount --bind "$2" /tmp
for folder in "${@:4}"; do
  case "$folder" in /tmp/*) mkdir -p "$folder" && mount --bind "/mnt/${folder#/tmp/}" "$folder";; esac
done
umount -l /mnt
until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done
ip link set lo up && ip address add "$3/24" dev eth0 && ip link set eth0 up && touch /tmp/up
while :; do sleep 3600 & wait; done
"""
READ_ONLY = """
mkdir -p /tmp/read-only
mount --bind "$1" /tmp/read-only
mount -o remount,bind,ro /tmp/read-only
mount --bind /tmp/read-only "$1"
umount /tmp/read-only
"""
START_SECONDS = 30.0
STARTED, JOIN_SECONDS = "Ray runtime started", 120.0
"""What Ray says when a host has joined, and how long that may take."""
REPOSITORY = Path(__file__).resolve().parents[1]


def can_host() -> bool:
    """Whether this machine has the tools, and the right to use them."""
    if any(shutil.which(tool) is None for tool in TOOLS):
        return False
    tried = ["unshare", "--fork", *NAMESPACES, *["ip", "link", "add", "name", "switch", "type", "bridge"]]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


class Host:
    """One host of a rack. `name` is its host name, `address` what the others reach it at."""

    def __init__(self, name: str, address: str, folder: Path, shared: Path, switch: int) -> None:
        self.name, self.address, self.folder = name, address, folder
        self._shared, self._switch = shared, switch
        self.variables: dict[str, str] = {}
        """What every command in it has in its environment, beside HOME and what this process has."""
        self._boot()

    def _boot(self) -> None:
        tmp = self.folder / "tmp"
        shutil.rmtree(tmp, ignore_errors=True)  # a host that starts anew has nothing left there
        (tmp / "home").mkdir(parents=True)
        tmp.chmod(0o1777)
        # what a host sees of this machine's /tmp
        seen = [str(self._shared), str(REPOSITORY), sys.prefix]
        init = ["bash", "-c", INIT, "init", self.name, str(tmp), self.address, *seen]
        apart = ["unshare", "--kill-child", "--fork", "--mount-proc", *NAMESPACES, "--propagation", "private", *init]
        with open(self.folder / "init.txt", "a") as said:
            inside = ["nsenter", "-t", str(self._switch), "-n", *apart]
            self._unshare = subprocess.Popen([*ENDS_WITH_US, *inside], stdout=said, stderr=said)
        until(lambda: self._init_process() is not None, f"{self.name} to have a first process")
        init_process = self._init_process()
        assert init_process is not None
        self.init = init_process
        card = f"02:00:00:00:00:{int(self.address.rpartition('.')[2]):02x}"  # the same after a boot: others remember it
        link = [f"link add name {self.name} type veth peer name eth0 address {card} netns {self.init}"]
        link += [f"link set dev {self.name} master switch", f"link set dev {self.name} up"]
        for command in link:
            _ip(self._switch, command)
        until((tmp / "up").exists, f"{self.name} to be up, see {self.folder}/init.txt")

    def _init_process(self) -> int | None:
        path = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
        children = path.read_text().split() if path.exists() else []
        return int(children[0]) if children else None

    @property
    def tmp(self) -> Path:
        """What the host calls /tmp."""
        return self.folder / "tmp"

    @property
    def alive(self) -> bool:
        """Whether it is switched on."""
        return self._unshare.poll() is None

    def command(self, *command: str | Path) -> list[str]:
        """A command as it is to be run here so that it runs in the host."""
        inside = ["nsenter", "-t", str(self.init), "-m", "-u", "-n", "-p"]
        return [*ENDS_WITH_US, *inside, *map(str, command)]

    def environment(self, variables: Mapping[str, str] | None = None) -> dict[str, str]:
        """What a command in the host has in its environment."""
        return {**os.environ, "HOME": "/tmp/home", "TMPDIR": "/tmp", **self.variables, **(variables or {})}

    def run(self, *command: str | Path, timeout: float = 120, **variables: str) -> str:
        """Run a command in the host; what it printed. Raises CalledProcessError where it fails."""
        ran = subprocess.run(
            self.command(*command), env=self.environment(variables), capture_output=True, text=True, timeout=timeout,
            check=False,
        )  # fmt: skip
        if ran.returncode:
            error = subprocess.CalledProcessError(ran.returncode, [*command], ran.stdout, ran.stderr + ran.stdout)
            error.add_note(f"in the host {self.name}: {error.stderr}")
            raise error
        return ran.stdout

    def start(self, *command: str | Path, said: Path, **variables: str) -> subprocess.Popen:
        """Start a command in the host; what it prints is appended to the file `said`."""
        with open(said, "a") as file:
            return subprocess.Popen(
                self.command(*command), env=self.environment(variables), stdout=file, stderr=file, cwd=self.folder
            )

    # What runs in it

    def processes(self, word: str = "") -> dict[int, str]:
        """Process id, as this machine counts, -> command line, for those in the host whose command line holds
        `word`; not the host's own first process."""
        if not self.alive:
            return {}
        mine, found = _pid_namespace(self.init), {}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                number = int(path.name)
                if line and number != self.init and word in line and _pid_namespace(number) == mine:
                    found[number] = line
        return found

    def signal(self, number: signal.Signals, word: str = "") -> list[int]:
        """Send a signal to all processes in the host whose command line holds `word`; their ids."""
        there = [*self.processes(word)]
        for process in there:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)
        return there

    def kill(self) -> None:
        """Switch it off: all of its processes are gone at once, and its link."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.init, signal.SIGKILL)
        self._unshare.wait()
        # by hand, for a connection whose other end was cut off keeps the namespace, and the link with it, for a minute
        with contextlib.suppress(RuntimeError):
            _ip(self._switch, f"link delete {self.name}")
        until(lambda: not has_link(self._switch, self.name), f"{self.name} to be gone")

    def boot(self) -> None:
        """Switch it on again, with an empty /tmp."""
        self._boot()

    # Its link, its storage

    def cut(self) -> None:
        """Take it off the network: nothing gets in or out, and nobody is told."""
        _ip(self._switch, f"link set dev {self.name} down")

    def mend(self) -> None:
        """Put it back on the network."""
        _ip(self._switch, f"link set dev {self.name} up")

    def read_only(self) -> None:
        """Nothing in the shared folder can be opened for writing any more."""
        # a mount over the mount, made elsewhere: one that is in use cannot change while a file is open for writing
        self.run("sh", "-ec", READ_ONLY, "read_only", self._shared)

    def writable(self) -> None:
        """Undo `read_only`."""
        self.run("umount", "-l", self._shared)

    # Ray

    def ray_said(self) -> str:
        """What the Ray that was started last has said."""
        return (self.folder / "ray.txt").read_text(errors="replace")

    def start_ray(self, head: Host | None = None, cpus: int = 0, *options: str, memory: int = 100) -> subprocess.Popen:
        """Start Ray in the host, as the head or as a worker of the one in another host; `memory` in MB is for objects,
        further options are those of `ray start`. Returns at once for a worker, for a head when it can be joined."""
        ray = Path(sys.executable).with_name("ray")
        command = [ray, "start", "--block", f"--node-ip-address={self.address}", f"--num-cpus={cpus}", "--num-gpus=0"]
        command += [f"--object-store-memory={memory * 10**6}", "--disable-usage-stats"]
        alone = ["--head", "--port=6379", "--include-dashboard=false"]
        command += [*options, *([f"--address={head.address}:6379"] if head else alone)]
        (self.folder / "ray.txt").unlink(missing_ok=True)
        started = self.start(*command, said=self.folder / "ray.txt")
        if head is None:
            self.wait_for_ray()  # one that has just begun to listen may turn others away
        return started

    def wait_for_ray(self) -> None:
        """Wait until the Ray that was started last has joined. Raises TimeoutError with what it has said."""
        try:
            until(lambda: STARTED in self.ray_said(), f"Ray in {self.name}", JOIN_SECONDS)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; it said: {self.ray_said()[-2000:]}") from error


def _ip(switch: int, command: str) -> str:
    """Run `ip` in the switch's network."""
    there = ["nsenter", "-t", str(switch), "-n", "ip", *command.split()]
    ran = subprocess.run(there, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"ip {command}: {ran.stderr.strip()}")
    return ran.stdout


def has_link(switch: int, name: str) -> bool:
    with contextlib.suppress(RuntimeError):
        _ip(switch, f"link show dev {name}")
        return True
    return False


def listens(host: Host, port: int) -> bool:
    """Whether something takes connections at a port of a host."""
    with contextlib.suppress(subprocess.CalledProcessError):
        host.run("bash", "-c", f"exec 3<>/dev/tcp/{host.address}/{port}")
        return True
    return False


def _pid_namespace(process: int) -> str:
    return os.readlink(f"/proc/{process}/ns/pid")


def until(true, what: str, seconds: float = START_SECONDS) -> None:  # type: ignore[no-untyped-def]  # any callable
    """Wait until it is true. Raises TimeoutError that says what did not come."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.05)
