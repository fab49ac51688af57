"""Hosts on one switch, beside one folder that all of them see, on a disk of its own; and the same as one Ray.

The switch is a network namespace: two racks on one machine may use the same names and addresses. All of it ends with
the process that made it, however that dies.
"""

from __future__ import annotations

import contextlib
import secrets
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from hosts import ENDS_WITH_US, Host, has_link, until

SWITCH = "ip link set lo up; ip link add switch type bridge; ip link set switch up; exec sleep infinity"
DISK_MB = 1000
# a file system in this machine's memory, which is gone with whoever made it
DISK = """
mount -t tmpfs -o size="$2m" disk "$1" || exit 1
trap 'kill $!; umount -l "$1"; exit' TERM
sleep infinity & wait
"""
TOKEN = ".token"


class Rack:
    """Hosts on one switch, all of which see the folder `shared` under its own path. Leaving the context switches all
    of them off. Each host keeps its /tmp and what it says in a folder of its own in `folder`."""

    def __init__(self, folder: Path, shared: Path) -> None:
        self.folder, self.shared = folder, shared
        self.hosts: dict[str, Host] = {}

    def __enter__(self) -> Self:
        self.shared.mkdir(parents=True, exist_ok=True)
        told = ("setpriv", "--pdeathsig", "TERM", "sh", "-c", DISK, "disk")
        self._disk = subprocess.Popen([*told, str(self.shared), str(DISK_MB)])
        until(self.shared.is_mount, f"{self.shared} to be a disk")
        self._switch = subprocess.Popen([*ENDS_WITH_US, "unshare", "--net", "sh", "-c", SWITCH])
        until(lambda: has_link(self._switch.pid, "switch"), "the switch")
        return self

    def __exit__(self, *error: object) -> None:
        try:
            for host in self.hosts.values():
                if host.alive:
                    host.kill()
        finally:
            self._switch.kill()
            self._switch.wait()
            self._disk.terminate()
            self._disk.wait()

    def add(self, names: Sequence[str], **variables: str) -> list[Host]:
        """Switch on hosts of these names, with variables for the environment of all that runs in them."""
        added = []
        for name in names:
            folder = self.folder / name
            folder.mkdir(parents=True)
            address = f"10.0.0.{len(self.hosts) + 1}"
            self.hosts[name] = host = Host(name, address, folder, self.shared, self._switch.pid)
            host.variables |= variables
            added.append(host)
        return added

    def fill(self, seconds: float) -> None:
        """For so long, the shared folder has no space: what is freed is taken at once."""
        end, ballast = time.monotonic() + seconds, self.shared / ".ballast"
        with open(ballast, "ab", buffering=0) as file:
            while time.monotonic() < end:
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(1 << 16))
                time.sleep(0.02)
        ballast.unlink()


class RayRack(Rack):
    """A rack with a head that runs no trials, and workers of these names, all in one Ray with its token on. Further
    variables are for the environment of all that runs in them."""

    def __init__(self, folder: Path, shared: Path, names: Sequence[str], cpus: int = 1, **variables: str) -> None:
        super().__init__(folder, shared)
        self.names, self.cpus, self._variables = names, cpus, variables

    def __enter__(self) -> Self:
        super().__enter__()
        self.furnish()
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.shared / TOKEN)}
        self.add(["head", *self.names], **token, **self._variables)
        self.heal()
        return self

    def furnish(self) -> None:
        """Put on the disk what every host needs of it."""
        (self.shared / TOKEN).write_text(secrets.token_hex(32))

    @property
    def head(self) -> Host:
        """The host with Ray's head."""
        return self.hosts["head"]

    @property
    def workers(self) -> list[Host]:
        """All other hosts."""
        return [self.hosts[name] for name in self.names]

    def heal(self) -> None:
        """What a launcher does: hosts that are gone are switched on, and Ray is started where it has ended. Returns
        when all have joined."""
        started = []
        for host in [self.head, *self.workers]:
            if not host.alive:
                host.boot()
            if not host.processes("raylet/raylet") or not host.processes("ray start"):
                host.signal(signal.SIGKILL, "ray")  # what a killed raylet has left
                host.start_ray(None if host is self.head else self.head, 0 if host is self.head else self.cpus)
                started.append(host)
        for host in started:
            host.wait_for_ray()
