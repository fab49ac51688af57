"""A cache of decoded images for each test."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JACKPOT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
