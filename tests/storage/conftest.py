"""A sweep in an object store, as several machines see it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.engine.remote_folder import RemoteFolder


@pytest.fixture
def machine(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], RemoteFolder]:
    """The sweep s3://BUCKET/tiny as a machine of a name sees it, with a copy of its own."""

    def see(name: str) -> RemoteFolder:
        monkeypatch.setenv("JACKPOT_CACHE", str(tmp_path / name))
        folder = RemoteFolder(f"{bucket}/tiny")
        folder.path.mkdir(parents=True, exist_ok=True)
        return folder

    return see
