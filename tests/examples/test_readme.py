"""README is true: the method that it shows registers and finds tickets that train, and its table of results.csv names
every column."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from methods import registry
from orchestrator.engine.columns import BATCH, COLUMNS, RUNTIME
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import make_plan
from orchestrator.engine.setting import Setting
from orchestrator.engine.trial import run_trial
from orchestrator.engine.watch import Watch

README = Path(__file__).parents[2] / "README.md"


def test_the_method_of_the_readme(make_spec: Callable[..., Any], tmp_path: Path, monkeypatch: Any) -> None:
    (code,) = re.findall(
        r"^    from methods import budget, method\n(?:(?:    .*)?\n)+", README.read_text(), re.MULTILINE
    )
    (tmp_path / "readme_largest.py").write_text(textwrap.dedent(code))
    monkeypatch.syspath_prepend(str(tmp_path))
    import readme_largest  # type: ignore[import-not-found]

    known, broken = registry._load_all()
    registry._check("largest", readme_largest.Largest, known)
    monkeypatch.setattr(registry, "_load_all", lambda: ({**known, "largest": readme_largest.Largest}, broken))
    spec = make_spec(methods=["largest"])
    plan = make_plan(spec)
    (planned,) = plan.planned
    watch = Watch(trial=planned.id, **plan.instructions(planned))
    setting = Setting(spec, planned.trial.model)
    result = run_trial(SweepFolder(tmp_path / "sweep"), setting, planned.trial, planned.chain.key, watch)
    assert result["error"] is None
    assert result["status"] == "done"
    weights, kept = (sum(layer[name] for layer in result["layers"]) for name in ("weights", "kept"))
    assert kept == weights - round(0.9 * weights) > 0


def test_the_table_of_columns_names_all_and_no_other() -> None:
    (table,) = re.findall(r"\| columns \|.*\n\|---.*\n((?:\|.*\n)+)", README.read_text())
    shown = [name for line in table.splitlines() for name in re.findall(r"`([^`]+)`", line.split("|")[1])]
    columns = [column.name.replace(BATCH, "N").replace(RUNTIME, "RUNTIME") for column in COLUMNS]
    assert [name for name in columns if not any(fnmatch(name, pattern) for pattern in shown)] == []
    assert [pattern for pattern in shown if not any(fnmatch(name, pattern) for name in columns)] == []
