"""Secrets of the environment, kept out of what is written: a method or network may print them, or raise an error that
holds one, such as the address that a request was sent to."""

from __future__ import annotations

import os
import re
from urllib.parse import quote, quote_plus

from orchestrator.spec.sharing import password_of

SHORTEST = 6
"""Characters. What is shorter would be found in many a word that is none."""
_NAMES = re.compile(r"secret|token|passw|passphrase|credential|api_?key|access_?key|private_?key", re.IGNORECASE)
_NO_SECRET = re.compile(r"_(path|file|dir|mode|uri|url|endpoint|host|port|id)$", re.IGNORECASE)
"""How the names end of variables that say where a secret is, or whose."""


def secrets() -> dict[str, str]:
    """The secrets of this process's environment, by the names of their variables: the values of those that are called
    like one, and the passwords in addresses."""
    found = {}
    for name, value in os.environ.items():
        if not (_NAMES.search(name) and not _NO_SECRET.search(name)):
            value = password_of(value) if "://" in value else ""
        if len(value) >= SHORTEST:
            found[name] = value
    return found


def concealed(text: str) -> str:
    """The text with `(NAME)` in place of each secret of the environment, as it is and as it stands in an address."""
    for name, value in sorted(secrets().items(), key=lambda known: -len(known[1])):  # one may be part of another
        for spelling in {value, quote(value, safe=""), quote(value), quote_plus(value)}:
            text = text.replace(spelling, f"({name})")
    return text
