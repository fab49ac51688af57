"""What a user may get wrong about where runs are kept: each said with its name, what was expected, and the remedy."""

from __future__ import annotations

import hashlib
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_sweeps import add, assert_complete
from test_follower import wait_until

from orchestrator.spec.loading import load
from orchestrator.spec.models import Tracking
from orchestrator.spec.sharing import refuse_password
from orchestrator.tracking.follower import Follower
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.where import discreet, own_database, uri_of

Make = Callable[..., Path]
SPEC = {"name": "x", "data": "digits", "model": "convnet", "recipe": {"epochs": 1}, "methods": ["dense"]}
OLDER, NEWER = "451aebb31d03", "feedbeefcafe"  # MLflow 1.0's; one that no MLflow has yet


@pytest.mark.parametrize("scheme", ["http", "postgresql", "postgresql+psycopg2", "mysql"])
def test_where_nothing_listens_is_said_at_once_and_the_sweep_goes_on(scheme: str, make_sweep: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
    folder, said = make_sweep(1), []
    start = time.monotonic()
    follower = Follower(folder, "tiny", Tracking(uri=f"{scheme}://{place}/db"), said.append, interval=0.05)
    assert time.monotonic() - start < 0.5
    wait_until(lambda: bool(said))
    add(folder, "later")
    message = follower.close(20) or ""
    for line in (said[0], message):
        assert place in line
        assert "the server does not answer (Connect" in line
        assert line.endswith(f"Results are safe; `jackpot sync {folder}` catches up")
    assert len(said) == 1
    assert Tracker(folder, "tiny", Tracking()).sync().logged == ["convnet_random_s90_seed0", "later"]
    assert_complete(folder, own_database(folder))


def _set_schema(database: Path, revision: str) -> str:
    """Stamp a database with a schema; the hash of its bytes then."""
    with sqlite3.connect(database) as connection:
        connection.execute("update alembic_version set version_num = ?", (revision,))
    connection.close()
    return hashlib.sha256(database.read_bytes()).hexdigest()


@pytest.mark.parametrize("lacks_a_table", [False, True])  # then MLflow would upgrade it without asking
def test_an_older_database_is_left_byte_for_byte(lacks_a_table: bool, make_sweep: Make, tmp_path: Path) -> None:
    folder, database = make_sweep(1), tmp_path / "shared.db"
    (folder / "mlflow.db").rename(database)
    if lacks_a_table:
        with sqlite3.connect(database) as connection:
            connection.execute("drop table inputs")
        connection.close()
    before = _set_schema(database, OLDER)
    message = Tracker(folder, "tiny", Tracking(uri=f"sqlite:///{database}")).sync().message or ""
    assert f"of an older schema ({OLDER})" in message
    assert f"back it up, then run `mlflow db upgrade 'sqlite:///{database}'`" in message
    assert "remove mlflow.db" not in message  # others may keep runs there
    assert hashlib.sha256(database.read_bytes()).hexdigest() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shared.db", "tiny"]


def test_a_newer_database_is_left_byte_for_byte(make_sweep: Make) -> None:
    folder = make_sweep(1)
    before = _set_schema(folder / "mlflow.db", NEWER)
    message = Tracker(folder, "tiny", Tracking()).sync().message or ""
    assert f"of a newer schema ({NEWER})" in message
    assert "install the newer MLflow that made it, or set tracking.uri to another database" in message
    assert hashlib.sha256((folder / "mlflow.db").read_bytes()).hexdigest() == before
    # the other remedy that it names
    assert "or remove mlflow.db, which the next pass makes anew" in message
    (folder / "mlflow.db").unlink()
    assert Tracker(folder, "tiny", Tracking()).sync().message is None
    assert_complete(folder, own_database(folder))


def test_a_database_whose_making_was_cut_off_is_made_on(make_sweep: Make) -> None:
    folder = make_sweep(1)
    with sqlite3.connect(folder / "mlflow.db") as connection:
        connection.execute("delete from experiments")
    connection.close()
    assert Tracker(folder, "tiny", Tracking()).sync().message is None
    assert_complete(folder, own_database(folder))


def test_what_is_no_database_is_a_message(make_sweep: Make) -> None:
    folder = make_sweep(1)
    (folder / "mlflow.db").write_text("no database, but a text that is long enough to be read as one" * 40)
    assert "file is not a database" in (Tracker(folder, "tiny", Tracking()).sync().message or "")


def test_a_missing_driver_is_named(make_sweep: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        uri = f"mysql+pymysql://me@127.0.0.1:{there.getsockname()[1]}/db"
        message = Tracker(make_sweep(1), "tiny", Tracking(uri=uri)).sync().message or ""
    assert "driver 'pymysql' is not installed; install it with pip" in message


WITH_PASSWORD = [
    "http://me:Pl4nted@there:5000", "https://me:Pl4nted/#?@there", "postgresql://me:Pl4nted@there/db",
    "postgresql+psycopg2://me:Pl4n@ted@there/db", "postgresql://there/db?user=me&password=Pl4nted",
    "mysql://:Pl4nted@there/db", "https://there?access_token=Pl4nted",
]  # fmt: skip


@pytest.mark.parametrize("uri", WITH_PASSWORD)
def test_a_password_in_a_spec_is_refused_with_the_remedy(uri: str) -> None:
    for given in (load({**SPEC, "tracking": {"uri": uri}}), load(SPEC, [f"tracking.uri='{uri}'"])):
        (line,) = given.report()
        assert "tracking.uri: " in line
        assert "a spec is stored with its runs" in line
        for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "PGPASSWORD"):
            assert variable in line
        assert "there" in line
        assert "Pl4n" not in line


@pytest.mark.parametrize(
    "uri", ["http://there:5000", "postgresql://me@there/db", "sqlite:////tmp/a:b@c.db", "postgresql://there/db?user=me"]
)
def test_an_address_without_a_password_is_taken(uri: str) -> None:
    assert refuse_password(uri) == uri


def test_an_impossible_address_of_the_environment_is_said_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgres://me:Pl4nted@there/db")
    with pytest.raises(ValueError, match="MLFLOW_TRACKING_URI: 'postgres://there/db' is no place") as caught:
        uri_of(tmp_path, Tracking())
    assert "Pl4nted" not in str(caught.value)


@pytest.mark.parametrize("secret", ["Pl4nted", "Pl4/nt@ed", "Pl4%2Fnted"])
def test_what_is_said_holds_no_password_in_any_spelling(secret: str) -> None:
    uri = f"postgresql://me:{secret}@there:5432/db"
    said = discreet(f"cannot open {uri}: bad password '{secret}', 'Pl4/nted'", uri)
    assert "there:5432/db" in said
    assert secret not in said
    assert ("Pl4/nted" in said) == (secret != "Pl4%2Fnted")


def test_a_database_that_takes_the_connection_and_says_no_more(make_sweep: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        uri = f"postgresql+psycopg2://me@127.0.0.1:{mute.getsockname()[1]}/db"
        start = time.monotonic()
        message = Tracker(make_sweep(1), "tiny", Tracking(uri=uri)).sync().message or ""
    assert time.monotonic() - start < 30  # the driver alone would wait for ever
    assert "timeout expired" in message
