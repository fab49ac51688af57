"""Seeded damage, and the watch over who reads it: no error but those that are told, no hang, no file elsewhere."""

from __future__ import annotations

import os
import random
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS = 10.0
"""Of the processor, for one input; the slowest take a tenth of a second."""


class TooSlow(Exception):
    """An input that took longer than SECONDS."""


@contextmanager
def at_most(seconds: float = SECONDS) -> Iterator[None]:
    """Raise TooSlow in the block once it has used the processor for so long."""

    def late(*_: Any) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def fuzz(count: int, seed: int, made: Callable[[random.Random], Any], tried: Callable[[Any], object]) -> str:
    """Try `count` inputs that are made from the seed; what came of them, in words. Raises AssertionError naming the
    first input on which `tried` raises or hangs: its number and the seed make it again."""
    began, slowest = time.monotonic(), 0.0
    for number in range(count):
        given = made(random.Random(f"{seed} {number}"))
        before = time.process_time()
        try:
            with at_most():
                tried(given)
        except Exception as error:
            shown = "".join(traceback.format_exception(error))[-3000:]
            raise AssertionError(f"input {number} of seed {seed}: {given!r:.2000}\n{shown}") from error
        slowest = max(slowest, time.process_time() - before)
    return f"{count:,} inputs of seed {seed} in {time.monotonic() - began:.0f} s, the slowest {slowest * 1000:.0f} ms"


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Some bytes with one to a few places changed, cut, doubled or filled with what formats are made of."""
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        here = draw.randrange(len(content) + 1)
        there = min(len(content), here + draw.choice((0, 1, 1, 4, 8, 64, 1000)))
        new = draw.choice((
            b"", b"\0", b"\xff" * 8, bytes([draw.randrange(256)]), draw.randbytes(draw.randrange(1, 16)),
            content[here:there] * 2, b"[" * draw.choice((1, 100, 5000)), b'{"":' * draw.choice((1, 100, 5000)),
            b"-1", b"9" * draw.choice((1, 20, 5000)), b"1e999", b"NaN", b'"../../x"', b"\\ud800", b"null", b"\n", b": ",
        ))  # fmt: skip
        content = content[:here] + new + content[there:]
    return content if draw.random() > 0.1 else content[: draw.randrange(len(content) + 1)]


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    """The size and time of every file and folder below a folder."""
    found = {}
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            status = os.lstat(os.path.join(place, name))
            found[os.path.join(place, name)] = (status.st_size, status.st_mtime_ns)
    return found
