"""Sweeps as jobs of a Ray cluster: sent once through its dashboard, followed from afar."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.engine.files import digest
from orchestrator.spec.loading import dump
from orchestrator.spec.models import Spec
from orchestrator.sweep import tokens
from orchestrator.sweep.outcome import JOB
from orchestrator.sweep.session import ClusterError

MAX_BYTES = 100 * 2**20
"""What a job may bring along: source and small files. Data lie where the cluster's machines can read them."""
LEFT_OUT = (
    "sweeps",
    "data",
    "results",
    "mlruns",
    "mlartifacts",
    "node_modules",
    "build",
    "dist",
    "venv",
    "screenshots",
)
"""Folders that are not sent; nor is any whose name begins with a dot."""
SPEC = ".jackpot.yaml"
"""The spec among the files of a job: no file of the user's source is called so."""
_ADDRESSES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
RECONNECT_SECONDS, RECONNECTS = 5.0, 12
_TALKATIVE = tuple(f"ray.{name}" for name in (
    "dashboard.modules.dashboard_sdk", "dashboard.modules.job.sdk", "_private.runtime_env.packaging",
))  # fmt: skip
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
_BEGINS = "log_begins"
_UNKNOWN = "does not exist"  # what Ray says of a job that it does not know


def check_address(address: str, without_token: bool = False) -> None:
    """See that a cluster's dashboard answers, asks for a token, and takes the one of this machine. Raises
    ClusterError."""
    if not address.startswith(("http://", "https://")):
        raise ClusterError(f"--address {address}: expected the URL of a cluster's dashboard, http://HOST:8265")
    try:
        if tokens.admits(address, ""):
            if not without_token:
                raise ClusterError(
                    f"--address {address}: this cluster obeys whoever reaches it, for it asks for no token; start it "
                    "with RAY_AUTH_MODE=token, as cluster.yaml does, or say --without-token if its network is yours "
                    "alone"
                )
        elif not tokens.admits(address, tokens.token()):
            raise ClusterError(
                f"--address {address}: the cluster refuses the token of this machine ({tokens.own_state()[0]}); `ray "
                f"get-auth-token` says the right one on its head: write it into {tokens.token_file()}"
            )
        else:
            os.environ["RAY_AUTH_MODE"] = "token"  # Ray's client shows it then
    except tokens.NoAnswer as error:
        raise ClusterError(
            f"--address {address}: {error}; is the cluster up, and its dashboard forwarded (`ray dashboard "
            "cluster.yaml`)?"
        ) from error


def job_id(spec: Spec, out: str) -> str:
    """The job of a sweep: the same for the same spec and folder, so that sending it twice is one sweep."""
    return f"jackpot-{spec.name}-{digest([dump(spec), out])[:12]}"


@contextmanager
def staged(spec: Spec | None, code: bool = False) -> Iterator[Path]:
    """A folder with what a job needs of this machine: the spec, the files it names below the current folder, and with
    `code` the source there. Raises ClusterError where that is more than a job should bring along."""
    with tempfile.TemporaryDirectory(prefix="jackpot-job-") as made:
        stage, here = Path(made), Path.cwd()
        if spec is None:
            yield stage
            return
        (stage / SPEC).write_text(dump(spec), encoding="utf-8")
        named = [path for path in _texts(spec.model_dump(mode="json")) if _is_file_below(here, path)]
        found = [Path(path) for path in named] + (list(_source(here)) if code else [])
        size = sum((here / path).stat().st_size for path in found)
        if size > MAX_BYTES:
            largest = max(found, key=lambda path: (here / path).stat().st_size)
            raise ClusterError(
                f"{here}: {size / 2**20:.0f} MiB would be sent, the largest {largest}; a job brings at most "
                f"{MAX_BYTES / 2**20:.0f} MiB: put data where the cluster's machines read them, and name that path"
            )
        for path in found:
            (stage / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(here / path, stage / path)
        yield stage


def _texts(value: Any) -> Iterator[str]:
    """Every text in a spec."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _is_file_below(here: Path, text: str) -> bool:
    path = Path(text)
    with contextlib.suppress(OSError, ValueError):
        return not path.is_absolute() and path.is_file() and path.resolve().is_relative_to(here.resolve())
    return False


def _source(here: Path) -> Iterator[Path]:
    """The files below the current folder, but for what is no source."""
    for folder, folders, files in os.walk(here):
        folders[:] = [name for name in folders if name not in (*LEFT_OUT, "__pycache__") and not name.startswith(".")]
        for name in files:
            path = Path(folder, name)
            if not name.startswith(".") and not path.is_symlink():
                yield path.relative_to(here)


@contextmanager
def client(address: str) -> Iterator[Any]:
    """Ray's client of a cluster's jobs. Raises ClusterError for what it raises."""
    import requests
    from ray.job_submission import JobSubmissionClient

    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    before = {name: os.environ.pop(name) for name in _ADDRESSES if name in os.environ}  # they would overrule `address`
    try:
        yield JobSubmissionClient(address)
    except (RuntimeError, ConnectionError, requests.RequestException) as error:
        raise ClusterError(f"--address {address}: {str(error).strip().splitlines()[-1]}") from error
    finally:
        os.environ.update(before)


def send(address: str, name: str, entrypoint: Sequence[str], folder: Path) -> bool:
    """Have the cluster run a command in a copy of a folder, as the job `name`. False where that job is running
    already; one that has ended is begun anew. Raises ClusterError."""
    with client(address) as jobs:
        known = {job.submission_id: job.status for job in jobs.list_jobs()}
        before = ""
        if name in known:
            if known[name] not in ENDED:
                return False
            with contextlib.suppress(RuntimeError):  # one that never began has none
                before = jobs.get_job_logs(name)
            jobs.delete_job(name)
        jobs.submit_job(
            entrypoint=shlex.join(entrypoint), submission_id=name,
            metadata={_BEGINS: str(len(before))},  # Ray appends to the log of a deleted job of that name
            runtime_env={"working_dir": str(folder), "env_vars": {JOB: name}},
        )  # fmt: skip
    return True


def follow(address: str, name: str, say: Callable[[str], None]) -> int:
    """Say what a job says until it ends, however often the connection breaks meanwhile; its exit code, as a shell
    counts them. Raises ClusterError where the cluster does not answer again, or knows the job no more."""
    told = -1

    async def tail(jobs: Any) -> None:
        nonlocal told
        seen = 0
        async for text in jobs.tail_job_logs(name):  # from its beginning
            new = text[max(0, told - seen) :]
            seen += len(text)
            if new:
                say(new)
                told = seen

    failures = 0
    while True:
        try:
            with client(address) as jobs:
                if told < 0:
                    told = int((jobs.get_job_info(name).metadata or {}).get(_BEGINS, 0))
                if jobs.get_job_status(name) in ENDED:
                    say(jobs.get_job_logs(name)[told:])
                    return _exit_code(jobs.get_job_info(name), say)
                failures = 0
                asyncio.run(tail(jobs))
        except Exception as error:  # whatever breaks a connection
            if _UNKNOWN in str(error):
                raise ClusterError(
                    f"{name}: the cluster knows this job no more, its head was started anew; submit again to go on"
                ) from error
            failures += 1
            if failures > RECONNECTS:
                why = str(error).removeprefix(f"--address {address}: ")
                raise ClusterError(
                    f"--address {address}: the cluster answers no more ({why}); {name} may go on there: submit again "
                    "to follow it"
                ) from error
            if failures == 1:
                say(f"the connection broke, {name} goes on; asking again for {RECONNECTS * RECONNECT_SECONDS:g} s\n")
            time.sleep(RECONNECT_SECONDS)


def _exit_code(info: Any, say: Callable[[str], None]) -> int:
    """Of a job that has ended."""
    code = info.driver_exit_code
    if code is None:
        code = 0 if info.status == "SUCCEEDED" else 1
        if code:
            say(f"{info.message}\n")
    return int(code) if code >= 0 else 128 - int(code)  # a signal's
