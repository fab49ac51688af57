"""The way to MLflow: loaded late, kept quiet, and impatient with a server that does not answer."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from orchestrator.spec.models import Tracking
from orchestrator.spec.sharing import without_credentials
from orchestrator.tracking.where import TrackingError, discreet, is_server, reachable, reason, uri_of

# A call that hangs or is repeated holds up every run behind it; the next pass tries again anyway. Repeating
# a request whose answer was lost would also create a run twice.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


def quieten() -> None:
    """Set what MLflow reads when it is loaded. What the user set in the environment is left alone."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


def connect(uri: str) -> Any:
    """An `MlflowClient` for an address. No server is asked yet; a database is created or upgraded on the first use."""
    quieten()
    from mlflow import MlflowClient  # 4 s: only where runs are written

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def see(folder: Path, tracking: Tracking) -> None:
    """See that a sweep's tracking server or database answers, writing nothing. Raises TrackingError where it does not,
    ValueError for an impossible address."""
    uri = uri_of(folder, tracking)
    reachable(uri)
    if is_server(uri):
        try:
            connect(uri).search_experiments(max_results=1)
        except Exception as error:  # whatever MLflow and the network raise
            raise TrackingError(f"{without_credentials(uri)}: {discreet(reason(error), uri)}") from error
