"""Everything that runs trials: spec, engine, sweep, tracking, report, command line."""

from typing import Any

__all__ = ["export", "load_ticket", "results", "run"]


def __getattr__(name: str) -> Any:
    # On demand, so that `jackpot --help` stays quick.
    if name in __all__:
        from orchestrator import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
