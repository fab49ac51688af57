"""What stands on the run of a sweep about the sweep as a whole: plain data, no MLflow here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.tracking.record import Result, text_of


def facts(results: Iterable[Result]) -> dict[str, str]:
    """Where the trials ran and on which versions, each with all values that occur."""
    found: dict[str, set[str]] = {}
    for result in results:
        for name, value in result["host"].items():
            found.setdefault(f"host.{name}", set()).add(str(value))
        for name, value in result["versions"].items():
            found.setdefault(f"version.{name}", set()).add(str(value))
    return {name: text_of(", ".join(sorted(values))) for name, values in found.items()}


def environment(plan: Mapping[str, Any]) -> dict[str, str]:
    """Who ran which command, and the state of the source in the folder it was run in: under MLflow's own names where
    it has some, so that its pages show them."""
    said = plan.get("environment") or {}
    tags = {
        "mlflow.source.name": said.get("command"),
        "mlflow.source.type": "LOCAL" if said.get("command") else None,
        "mlflow.user": said.get("user"),
        "mlflow.source.git.commit": said.get("git_commit"),
        "git.dirty": said.get("git_dirty"),
    }
    return {name: text_of(value).lower() if isinstance(value, bool) else text_of(value)
            for name, value in tags.items() if value is not None}  # fmt: skip
