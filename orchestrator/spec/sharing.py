"""A spec as others may read it: without the credentials of its tracking server."""

from __future__ import annotations

import re

import yaml


def shareable(text: str) -> str:
    """A spec's YAML without what its `tracking.uri` may say in secret; the text as it is where there is nothing."""
    content = yaml.safe_load(text)
    tracking = content.get("tracking") if isinstance(content, dict) else None
    if not isinstance(tracking, dict) or not isinstance(uri := tracking.get("uri"), str):
        return text
    tracking["uri"] = without_credentials(uri)
    if tracking["uri"] == uri:
        return text
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def without_credentials(uri: str) -> str:
    """An address without user, password and query, which may hold them too; that of a file as it is."""
    scheme, colon, rest = uri.partition("://")
    if not colon or scheme.startswith("sqlite"):
        return uri
    # a password that was not escaped may hold any of / ? #: all before the last @ goes
    return scheme + colon + re.split(r"[?#]", rest.rpartition("@")[2])[0]
