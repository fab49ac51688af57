"""What surrounds a run of a sweep: who runs which command, and the source that lies in the folder where it is run."""

from __future__ import annotations

import contextlib
import getpass
import subprocess
import sys
from pathlib import Path
from typing import Any

from orchestrator.spec.sharing import without_credentials

_SECONDS = 5.0


def environment() -> dict[str, Any]:
    """The command, the user, and of the git repository around the current folder its commit and whether anything in it
    differs from that. What cannot be told is left out."""
    found: dict[str, Any] = {"command": " ".join([Path(sys.argv[0]).name, *map(without_credentials, sys.argv[1:])])}
    with contextlib.suppress(OSError, KeyError):  # a process without a name
        found["user"] = getpass.getuser()
    commit, changed = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    if commit:
        found["git_commit"] = commit
        if changed is not None:
            found["git_dirty"] = bool(changed)
    return found


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=False, timeout=_SECONDS, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
