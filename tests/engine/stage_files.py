"""A stage that tests of the store write, and the processes that write it."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Iterator
from typing import Any

import torch

KEY = "ab" + "0" * 62
fork = multiprocessing.get_context("fork")


def make_tensors(value: float = 1.0) -> dict[str, torch.Tensor]:
    return {"a": torch.full((64, 3, 3, 3), value).to(memory_format=torch.channels_last), "b": torch.tensor(int(value))}


def started(target: Any, *args: Any) -> Any:
    process = fork.Process(target=target, args=args)
    process.start()
    return process


@contextlib.contextmanager
def killed_at_the_end(process: Any) -> Iterator[None]:
    try:
        yield
    finally:
        if process.is_alive():
            process.kill()
        process.join()
