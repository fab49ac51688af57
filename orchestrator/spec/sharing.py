"""What others may read of a tracking server's address: no password stands in a spec, or in what is said."""

from __future__ import annotations

import re

import yaml

from orchestrator.spec.reading import read


def shareable(text: str) -> str:
    """A spec's YAML without what its `tracking.uri` may say in secret; the text as it is where there is nothing."""
    content = read(text).value
    tracking = content.get("tracking") if isinstance(content, dict) else None
    if not isinstance(tracking, dict) or not isinstance(uri := tracking.get("uri"), str):
        return text
    tracking["uri"] = without_credentials(uri)
    if tracking["uri"] == uri:
        return text
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def refuse_password(uri: str) -> str:
    """An address that a spec may hold, which is kept in the sweep's folder and with its run. Raises ValueError with the
    remedy where a password stands in it."""
    if password_of(uri) or re.search(r"[?&][^=&]*(password|token)[^=&]*=[^&]", uri, re.IGNORECASE):
        raise ValueError(
            f"{without_credentials(uri)} was given with a password, and a spec is stored with its runs; leave the "
            "password out and set it in the environment: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD for a "
            "server, PGPASSWORD for PostgreSQL, or the whole address as MLFLOW_TRACKING_URI and none in the spec"
        )
    return uri


def password_of(uri: str) -> str:
    """The password before an address's host, as it is written there; empty where there is none, or in that of a file.
    One that was not escaped may hold any of / ? # @."""
    scheme, _, rest = uri.partition("://")
    return "" if scheme.startswith("sqlite") else rest.rpartition("@")[0].partition(":")[2]


def said_of(override: str) -> str:
    """An override "KEY=VALUE" as it may be shown."""
    key, equals, value = override.partition("=")
    return key + equals + without_credentials(value) if "://" in value else override


def without_credentials(uri: str) -> str:
    """An address without user, password and query, which may hold them too; that of a file as it is."""
    scheme, colon, rest = uri.partition("://")
    if not colon or scheme.startswith("sqlite"):
        return uri
    # a password that was not escaped may hold any of / ? #: all before the last @ goes
    return scheme + colon + re.split(r"[?#]", rest.rpartition("@")[2])[0]
