"""The loops of train.py, each in a process of its own that does what it is told, so that none shares an allocator or
threads with another."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import torch
from trainers import FULL, KINDS, NETS, WORKERS, Contest, Ours, Plain, contest

from orchestrator.engine.pages import huge_pages

PROFILED = 12
"""Operations that a profile shows."""
REST = 1.0
"""Seconds in which the workers of the plain loop make ready what they may, after it has had its turn."""


class Loop:
    """A kind of loop, or the full trainer `without` a technique, on one network."""

    def __init__(self, name: str, root: str | None, device: str, kind: str, without: str = "") -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.plain = kind == "plain"
        self.process = context.Process(target=_serve, args=(other, name, root, device, kind, without))
        with environment({} if self.plain or without == "huge pages" else huge_pages()):
            self.process.start()
        other.close()

    def ask(self, what: str, *arguments: Any) -> None:
        """Have something done meanwhile."""
        self.pipe.send((what, arguments))

    def answer(self) -> Any:
        """What came of it. Raises RuntimeError where the process has failed."""
        try:
            return self.pipe.recv()
        except EOFError:
            self.process.join()
            raise RuntimeError(f"a loop ended with exit code {self.process.exitcode}; what it said is above") from None

    def run(self, steps: int) -> float:
        """Seconds a step, alone."""
        (seconds,) = run_at_once([self], steps)
        return seconds

    def told(self, what: str, *arguments: Any) -> Any:
        """`ask` and `answer`."""
        self.ask(what, *arguments)
        return self.answer()

    def end(self) -> None:
        """Let it go."""
        self.pipe.close()
        self.process.join()


@contextmanager
def environment(added: Mapping[str, str]) -> Iterator[None]:
    """What a process that is started meanwhile has in its environment beside what this one has."""
    before = dict(os.environ)
    os.environ.update(added)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def run_at_once(loops: Sequence[Loop], steps: int) -> list[float]:
    """Seconds a step of each of several loops that run at the same time."""
    for loop in loops:
        loop.ask("run", steps)
    found = [loop.answer() for loop in loops]
    if any(loop.plain for loop in loops):
        time.sleep(REST)
    return found


def _serve(pipe: Connection, name: str, root: str | None, device: str, kind: str, without: str) -> None:
    torch.set_num_threads(1)
    own = contest(NETS[name], root, torch.device(device))
    made = KINDS[kind](own) if not without else KINDS[FULL](own, without=without)  # type: ignore[call-arg]
    does = {"run": partial(_timed, made), "profile": partial(profile, made), "images": partial(_images, made),
            "compile": getattr(made, "compile_seconds", None), "flops": partial(_flops, own)}  # fmt: skip
    while True:
        try:
            what, arguments = pipe.recv()
        except EOFError:
            return
        pipe.send(does[what](*arguments))


def _timed(made: Plain | Ours, steps: int) -> float:
    # memory of a process that was idle may have been taken from it; and a loader's workers have made batches meanwhile
    made.run(2 * WORKERS if isinstance(made, Plain) else 1 + steps // 10)
    began = time.perf_counter()
    made.run(steps)
    return (time.perf_counter() - began) / steps


def _images(made: Ours, steps: int) -> float:
    began = time.perf_counter()
    made.make_batches(steps)
    return (time.perf_counter() - began) / steps


def _flops(own: Contest) -> dict[str, int]:
    return {"macs": own.setting.macs.total, "batch": own.setting.spec.recipe.batch}


def profile(made: Plain | Ours) -> str:
    """Where the time of three steps goes, by operation, on the device that computes."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiling

    cuda = torch.cuda.is_initialized()
    with profiling(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as profiler:
        made.run(3)
    found = [
        (event.key, event.self_device_time_total if cuda else event.self_cpu_time_total, event.count)
        for event in profiler.key_averages()
    ]
    whole = sum(spent for _, spent, _ in found)
    rows = sorted(found, key=lambda row: -row[1])[:PROFILED]
    return "\n".join(f"  {spent / whole:6.1%}  {count:6d} x  {name}" for name, spent, count in rows)
