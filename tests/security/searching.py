"""Looking for secrets in every byte of what was written, packed or not."""

from __future__ import annotations

import base64
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import quote

_PACKED = re.compile(rb"[A-Za-z0-9+/]{80,}={0,2}")
"""Base64, as the report's page holds its pictures and plots."""


def spellings(secret: str) -> set[bytes]:
    """How a secret may be written: as it is, as in an address, in base64 wherever it begins in what is encoded."""
    found = {text.encode() for text in (secret, quote(secret), quote(secret, safe=""))}
    for shift in range(3):
        found.add(base64.b64encode(b"\0" * shift + secret.encode())[4 * (shift > 0) : -4])
    return found


def found_in(content: bytes, secrets: Collection[str], where: str) -> list[str]:
    """Where in some bytes, unpacked as often as they can be, one of the secrets stands."""
    words = {word: secret for secret in secrets for word in spellings(secret)}
    return [
        f"{place}: {secret}"
        for place, text in _unpacked(content, where)
        for word, secret in words.items()
        if word in text
    ]


def _unpacked(content: bytes, where: str) -> Iterator[tuple[str, bytes]]:
    yield where, content
    if content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            for name in file.namelist():
                yield from _unpacked(file.read(name), f"{where}!{name}")
    elif content[:2] == b"\x1f\x8b":
        yield from _unpacked(gzip.decompress(content), f"{where}!gz")
    elif where.endswith((".html", ".htm")):
        for number, match in enumerate(_PACKED.findall(content)):
            packed = base64.b64decode(match + b"=" * (-len(match) % 4))
            with_gzip = packed[:2] == b"\x1f\x8b"
            yield f"{where}!{number}", gzip.decompress(packed) if with_gzip else _inflated(packed)


def _inflated(packed: bytes) -> bytes:
    for bits in (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        try:
            return zlib.decompress(packed, bits)
        except zlib.error:
            continue
    return packed


def found_below(folder: Path, secrets: Collection[str]) -> list[str]:
    """Where in the names and contents of all files below a folder one of the secrets stands."""
    found = []
    for path in sorted(folder.rglob("*")):
        found += found_in(str(path.relative_to(folder)).encode(), secrets, f"the name {path}")
        if path.is_file():
            found += found_in(path.read_bytes(), secrets, str(path))
    return found
