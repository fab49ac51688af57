"""Where a planted secret may have got to: the files of a sweep, and all that its runs hold in MLflow."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from mlflow.artifacts import download_artifacts

from orchestrator.tracking.client import connect


def spellings(secret: str) -> list[bytes]:
    """How a secret may be written: as it is, and as in an address."""
    return sorted({text.encode() for text in (secret, quote(secret), quote(secret, safe=""))})


def leaks_in_files(folder: Path, secret: str) -> list[str]:
    """The files below a folder that hold a secret in their bytes or their name."""
    return [
        str(path)
        for path in sorted(folder.rglob("*"))
        for word in spellings(secret)
        if word in str(path).encode() or (path.is_file() and word in path.read_bytes())
    ]


def leaks_in_runs(uri: str, secret: str, scratch: Path) -> list[str]:
    """The runs and experiments at an address that hold a secret: in a name, a param, a tag, an input or an artifact."""
    client, found = connect(uri), []
    experiments = client.search_experiments()
    for run in client.search_runs([experiment.experiment_id for experiment in experiments], max_results=500):
        said = f"{run.to_dictionary()} {run.inputs.to_dictionary() if run.inputs else ''}".encode()
        found += [run.info.run_name for word in spellings(secret) if word in said]
        place = scratch / run.info.run_id
        place.mkdir(parents=True)
        if client.list_artifacts(run.info.run_id):
            download_artifacts(run_id=run.info.run_id, dst_path=str(place), tracking_uri=uri)
        found += leaks_in_files(place, secret)
    said = " ".join(str(dict(experiment)) for experiment in experiments).encode()
    return found + ["experiment" for word in spellings(secret) if word in said]
