"""Hosts that finish one stage at the same moment."""

from __future__ import annotations

from pathlib import Path

import pytest
import races


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["folder", "s3"])
def test_one_of_two_hosts_wins_and_its_stage_is_whole(
    bucket: str, storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JACKPOT_CACHE", str(tmp_path))  # put back at the end: the reader sets its own
    address = f"{bucket}/sweep" if storage == "s3" else str(tmp_path / "sweep")
    found = races.race(address, 25, tmp_path / "machines")
    assert (found["rounds"], found["one_winner"], found["torn"]) == (25, 25, 0)
