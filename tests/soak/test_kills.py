"""Ten kills -9 at random moments: the results are those of a run that nobody disturbed."""

import sqlite3
import time

import pandas as pd
import pytest
from kills import Sweep

from orchestrator.engine.results import repeatable

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


def steady(sweep):
    return repeatable(pd.read_csv(sweep.path / "results.csv"))


def test_ten_kills(tmp_path):
    calm, shaken = Sweep(tmp_path / "calm"), Sweep(tmp_path / "shaken")
    began = time.monotonic()
    calm.shake(0, seed=2026)
    print(f"\nundisturbed: {time.monotonic() - began:.0f} s, {calm.trained:g} epochs trained")
    began = time.monotonic()
    kills = shaken.shake(10, seed=2026)
    print(f"with kills of {', '.join(kills)}: {time.monotonic() - began:.0f} s, {shaken.trained:g} epochs trained")

    assert len(kills) == 10
    assert list(steady(shaken)["status"]) == ["done"] * 14
    pd.testing.assert_frame_equal(steady(shaken), steady(calm))
    distinct = steady(shaken)["cost/epochs_new"].sum()
    assert calm.trained == distinct == calm.distinct
    # all that was trained twice lies between a checkpoint, or a training's start, and a kill
    lost, back = shaken.trained - distinct, shaken.rewinds()
    print(f"epochs: {distinct:g} distinct, {lost:.2f} trained twice")
    for _, reached, back_to, kept in back:
        print(f"  epoch {reached:.2f} reached, back to {back_to:.2f}, last checkpoint at {kept:.2f}")
    assert lost == pytest.approx(sum(reached - back_to for _, reached, back_to, _ in back))
    assert all(back_to >= kept for *_, back_to, kept in back)
    # and what is complete is never trained again
    store = shaken.folder.store
    for event in (event for trial in shaken.events() for event in trial if "steps" in event):
        assert event["time"] <= store.meta(event["stage"])["made"]

    database = sqlite3.connect(shaken.path / "mlflow.db")
    runs = database.execute(
        "select status, count(*) from runs join tags using (run_uuid) where lifecycle_stage = 'active' "
        "and key = 'jackpot.kind' and value != 'aggregate' group by 1"
    ).fetchall()
    assert runs == [("FINISHED", 15)]  # the parent and each trial once
    trials = database.execute(
        "select count(*), count(distinct value) from tags join runs using (run_uuid) "
        "where key = 'jackpot.trial' and lifecycle_stage = 'active'"
    ).fetchone()
    assert trials == (14, 14)
