"""What a running sweep needs around it: a Ray to run on, and Ctrl-C as a request to stop."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def interrupts(handler: Callable[[], None]) -> Iterator[None]:
    """Call `handler` on Ctrl-C and on SIGTERM instead of raising, where this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: handler()) for number in signals}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def ray_session(address: str | None) -> Iterator[None]:
    """A Ray cluster: the one at `address`, the one this process is connected to, or one started here."""
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # Tune says nothing: progress is ours
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C is ours
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # results are our own files
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "1000000000"  # Tune's snapshots are never restored
    import ray

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a worker's death is told in our own words
    if ray.is_initialized():
        yield
        return
    ray.init(
        address=address or "local",
        include_dashboard=False if address is None else None,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        yield
    finally:
        ray.shutdown()
