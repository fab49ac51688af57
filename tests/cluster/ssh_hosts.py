"""Hosts as deploy/README.md asks for them: a user with a home folder, an SSH server, one folder for all at
/mnt/jackpot. And deploy/local.yaml for them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from hosts import Host

ROOT = Path(__file__).parents[2]
LOCAL = ROOT / "deploy" / "local.yaml"
SSHD = Path("/usr/sbin/sshd")
BIN = Path(sys.executable).parent

# root, with a home folder of this host's own
FURNISH = """
sed 's,^root:\\([^:]*:[^:]*:[^:]*:[^:]*\\):[^:]*:,root:\\1:/tmp/home:,' /etc/passwd > /tmp/passwd
mount --bind /tmp/passwd /etc/passwd
mount -t tmpfs cache /var/tmp
mount -t tmpfs run /run && mkdir /run/sshd
mount -t tmpfs mnt /mnt && mkdir /mnt/jackpot && mount --bind "$1" /mnt/jackpot
mkdir -m 700 /tmp/home/.ssh
ssh-keygen -q -t ed25519 -N "" -f /tmp/host_key
"""
OPTIONS = (
    "HostKey=/tmp/host_key", "PasswordAuthentication=no", "UsePAM=no", "PidFile=none",
    "SetEnv=RAY_gcs_rpc_server_reconnect_timeout_s=20",  # how long Ray waits for a head that is gone; else 60
)  # fmt: skip


def furnish(host: Host, shared: Path) -> None:
    """Give a host's user a home folder, and the host the shared folder at /mnt/jackpot."""
    host.run("bash", "-ec", FURNISH, "furnish", shared)


def let_in(host: Host, public_key: str) -> None:
    """Start a host's SSH server, for whoever has the key."""
    keys = host.tmp / "home" / ".ssh" / "authorized_keys"
    keys.write_text(public_key)
    keys.chmod(0o600)
    options = [text for option in OPTIONS for text in ("-o", option)]
    host.start(SSHD, "-D", "-e", "-f", "/dev/null", *options, said=host.folder / "sshd.txt")
    until(lambda: ":22 " in host.run("ss", "-tlnH"), f"sshd in {host.name}, see {host.folder}/sshd.txt")


def local_file(head: Host, workers: Sequence[Host]) -> str:
    """deploy/local.yaml with these hosts' addresses and user. In place of an install, which takes GB: the packages that
    are here, with the source that the launcher has brought."""
    config = yaml.safe_load(LOCAL.read_text())
    config["provider"] |= {"head_ip": head.address, "worker_ips": [host.address for host in workers]}
    config["auth"]["ssh_user"] = "root"
    install = [command for command in config["setup_commands"] if "jackpot/.venv" in command or "make " in command]
    assert len(install) == 2, install
    kept = [command for command in config["setup_commands"] if command not in install]
    config["setup_commands"] = [*kept, f"echo 'export PATH={BIN}:$PATH PYTHONPATH=$HOME/jackpot' >> ~/.bashrc"]
    return yaml.safe_dump(config, sort_keys=False)


class Laptop:
    """A host on which a user types commands, in this working copy."""

    def __init__(self, host: Host) -> None:
        self.host = host
        settings = {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "token"}
        self._environment = host.environment(settings)

    def types(self, *command: str | Path, timeout: float = 180) -> tuple[int, str]:
        """Run a command; its exit code and all that it said."""
        ran = subprocess.run(
            self.host.command("env", "-C", ROOT, *command), env=self._environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        return ran.returncode, ran.stdout

    def begins(self, *command: str | Path, said: Path) -> subprocess.Popen:
        """Start a command; what it says goes to the file `said`."""
        with open(said, "w") as file:
            # it hears Ctrl-C also where the tests run in a shell's background
            there = self.host.command("env", "--default-signal=INT", "-C", ROOT, *command)
            return subprocess.Popen(there, env=self._environment, stdout=file, stderr=file)


def until(true: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Wait until it is true. Raises TimeoutError that says what did not come."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.2)
