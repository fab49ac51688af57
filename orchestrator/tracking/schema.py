"""What a database of runs must be before MLflow may open it: there, and of this MLflow's schema."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from orchestrator.spec.sharing import without_credentials
from orchestrator.tracking.where import CONNECT_SECONDS, TrackingError, is_server

_UNKNOWN = "unknown"


def check_schema(uri: str, spare: bool = False) -> None:
    """Raise TrackingError where a database is of an older or newer schema than this MLflow's: MLflow itself would
    change an older one without asking, and there is no way back. Nothing is written. Says nothing of tracking servers,
    nor of databases that are not there yet or hold no experiment: MLflow makes, or goes on making, their tables.

    spare: whether the runs can be made anew from the results, so that the database may be removed."""
    if is_server(uri) or (uri.startswith("sqlite:///") and not _size(uri)):
        return
    found = _revision(uri)
    if found is None:
        return
    from mlflow.store.db.utils import _get_latest_schema_revision

    wanted = _get_latest_schema_revision()
    if found == wanted:
        return
    import mlflow

    here, address = f"MLflow {mlflow.__version__} here", without_credentials(uri)
    anew = "; or remove mlflow.db, which the next pass makes anew from the results" if spare else ""
    signed = "" if uri.startswith("sqlite") else " with its user and password put in"
    if not _known(found):
        raise TrackingError(
            f"its database is of a newer schema ({found}) than {here} knows ({wanted}); install the newer "
            f"MLflow that made it, or set tracking.uri to another database{anew}"
        )
    raise TrackingError(
        f"its database is of an older schema ({found}) than {here} expects ({wanted}), and was left as it is; back it "
        f"up, then run `mlflow db upgrade '{address}'`{signed}{anew}"
    )


def _size(uri: str) -> int:
    with suppress(OSError):
        return Path(unquote(uri.removeprefix("sqlite:///"))).stat().st_size
    return 0


def _revision(uri: str) -> str | None:
    """The schema of a database that holds experiments; None of any other."""
    import sqlalchemy
    from sqlalchemy.pool import NullPool

    # else a server that takes the connection and says no more holds the pass up for ever
    options: dict[str, Any] = {"connect_timeout": int(CONNECT_SECONDS)} if uri.startswith("postgresql") else {}
    try:
        engine = sqlalchemy.create_engine(uri, poolclass=NullPool, connect_args=options)
    except ModuleNotFoundError as error:
        raise TrackingError(f"the database's driver {error.name!r} is not installed; install it with pip") from error
    with closing(engine.connect()) as connection:
        tables = set(sqlalchemy.inspect(connection).get_table_names())
        if "experiments" not in tables:
            return None
        if connection.execute(sqlalchemy.text("select count(*) from experiments")).scalar() == 0:
            return None
        if "alembic_version" not in tables:
            return _UNKNOWN
        return str(connection.execute(sqlalchemy.text("select version_num from alembic_version")).scalar())


def _known(revision: str) -> bool:
    """Whether a schema is one that this MLflow can bring up to date."""
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    known = {script.revision for script in ScriptDirectory.from_config(_get_alembic_config("")).walk_revisions()}
    return revision in known
