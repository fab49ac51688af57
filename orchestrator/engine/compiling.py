"""Programs that torch.compile makes: what is asked of them alike, whether they train or are timed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

COMPILERS = ("g++", "clang++")
"""What inductor looks for where CXX names nothing."""
PROGRAMS = 64
"""Programs of one function that a process keeps, one for each structure, before torch.compile refuses more."""
WITHOUT = "set recipe.compile to false"


class CannotCompile(RuntimeError):
    """What torch.compile cannot make a program of here; the message says why and what to do."""


def require_compiler(otherwise: str) -> None:
    """Raises CannotCompile where there is no C++ compiler; `otherwise`: what to do without compiling."""
    if not any(map(shutil.which, (os.environ.get("CXX", ""), *COMPILERS))):
        raise CannotCompile(
            f"there is no C++ compiler, which torch.compile needs; install g++, or name one in CXX, or {otherwise}"
        )


def compiled(
    function: Callable[..., Any], arguments: Sequence[Any], otherwise: str, **settings: Any
) -> tuple[Callable[..., Any], Any]:
    """A function as a program for arguments of these shapes alone, and its result for these; `settings`: mode or
    options of torch.compile; `otherwise`: what to do without compiling. A program that this process has made of it for
    the same structure is used again; so is, from inductor's cache on disk, what other processes have compiled. Raises
    CannotCompile."""
    import torch._inductor  # seconds to import
    from torch._dynamo import config

    require_compiler(otherwise)
    config.recompile_limit = max(config.recompile_limit, PROGRAMS)
    program = torch.compile(function, dynamic=False, fullgraph=True, **settings)
    try:
        with torch._inductor.config.patch(compile_threads=1):  # no pool of processes that outlives this one
            return program, program(*arguments)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever dynamo, inductor or the C++ compiler raises
        raise CannotCompile(
            f"torch.compile cannot compile the network ({said(error)}); its forward must be the same operations for "
            f"every input, and the C++ compiler must work; or {otherwise}"
        ) from error


class CompiledOnce:
    """A function that is compiled when it is first called."""

    def __init__(self, function: Callable[..., torch.Tensor], device: torch.device) -> None:
        require_compiler(WITHOUT)
        self.seconds = 0.0
        """What compiling has taken, with the first call."""
        self._function = function
        self._program: Callable[..., torch.Tensor] | None = None
        # whole passes are then recorded as CUDA graphs, of one launch each
        self._settings = {"mode": "reduce-overhead"} if device.type == "cuda" else {}

    def __call__(self, *arguments: Any) -> torch.Tensor:
        """What the function returns: a copy, for the memory of a CUDA graph is its own. Raises CannotCompile."""
        torch.compiler.cudagraph_mark_step_begin()
        if self._program is not None:
            return self._program(*arguments).clone()
        began = time.perf_counter()
        self._program, result = compiled(self._function, arguments, WITHOUT, **self._settings)
        self.seconds = time.perf_counter() - began
        return result.clone()


def said(error: BaseException) -> str:
    """An error in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
