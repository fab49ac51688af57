"""The data of a trial, as MLflow shows them beside a run."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.engine.files import digest
from orchestrator.tracking.record import Result


def dataset_inputs(result: Result) -> list[Any]:
    """The data set that a trial was trained, validated and tested on, as MLflow's dataset inputs. Its digest is that of
    the images' and labels' content where the result knows it (MLflow takes 36 characters), else of the spec's section
    `data`; its source is where they were read from."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    section = {name: value for name, value in result["params"].items() if name.startswith("data.")}
    content = result.get("data_fingerprint") or digest(section)
    made = Dataset(
        name=str(result["data"])[:500],
        digest=content[:36],
        source_type="local",
        source=json.dumps({"uri": str(section.get("data.root") or result["data"])}),
        profile=json.dumps({name.removeprefix("data."): value for name, value in section.items()}, default=str),
    )
    return [DatasetInput(made, [InputTag("mlflow.data.context", "training, validation, test")])]
