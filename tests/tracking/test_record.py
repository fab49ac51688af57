from __future__ import annotations

import math

from fake_sweeps import STARTED, result

from orchestrator.tracking.record import params_of, points_of, tags_of


def test_final_metrics_stand_at_the_last_epoch_and_replace_its_value() -> None:
    points = {(point.key, point.step): point for point in points_of(result("t"))}
    assert points["accuracy/val", 2].value == 0.6
    assert points["accuracy/val", 2].milliseconds == (STARTED + 4) * 1000
    assert points["accuracy/val", 3].value == 0.9
    assert points["accuracy/test", 3].milliseconds == (STARTED + 7) * 1000
    assert ("time", 1) not in points
    assert ("epoch", 1) not in points


def test_infinite_becomes_nan_and_what_is_no_number_is_left_out() -> None:
    points = points_of(result("t", history=[], metrics={"a": math.inf, "b": math.nan, "c": None, "d": 2}))
    assert [(point.key, math.isnan(point.value)) for point in points] == [
        ("a", True),
        ("b", True),
        ("d", False),
    ]


def test_params_hold_options_and_what_the_sweep_varies() -> None:
    params = params_of(result("t", options={"ratio": "smart", "fraction": 0.2}, params={"long": "x" * 9000}))
    assert params["ticket.ratio"] == "smart"
    assert params["ticket.fraction"] == "0.2"
    assert params["sparsity"] == "0.9"
    assert len(params["long"]) <= 6000


def test_keys_that_mlflow_refuses_are_spelled_otherwise() -> None:
    assert "recipe.a_b_" in params_of(result("t", params={"recipe.a=b]": 1}))


def test_tags_say_what_went_wrong() -> None:
    assert tags_of(result("t", "failed"))["error"] == "RuntimeError: out of memory"
    assert tags_of(result("t", "blocked"))["blocked_by"] == "convnet_dense_seed0"
    assert tags_of(result("t"))["host.device"] == "cpu"
