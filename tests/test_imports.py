"""The import rules of the design: rooms import downwards, heavy packages stay in their rooms and out of the way."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = [
    {"orchestrator.cli"},
    {"orchestrator"},  # the package itself, which hands on what is in api
    {"orchestrator.api"},  # the door for Python, which the command line uses too
    {"orchestrator.report", "orchestrator.sweep"},
    {"orchestrator.tracking"},  # reads the engine's results
    {"orchestrator.engine"},
    {"orchestrator.spec", "search_spaces"},
    {"methods"},
]
"""From top to bottom: a module may import from its own room and from the rooms below."""
AT_HOME = {
    "ray": {"orchestrator.sweep"},
    "mlflow": {"orchestrator.tracking"},
    "optuna": {"orchestrator.sweep", "search_spaces"},
}
LATE = {"orchestrator.sweep.worker", "orchestrator.sweep.search"}
"""Modules that are themselves imported inside functions alone, so they may import Ray at their top."""
HEAVY = ("torch", "ray", "mlflow", "optuna", "pandas", "numpy")


def modules():
    """Every module of the three packages, by name."""
    found = {}
    for package in ("methods", "search_spaces", "orchestrator"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(module):
    """What a module imports: (name, whether that happens as soon as it is loaded)."""
    found = []
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]

    def visit(node, top):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                name = "." * child.level + (child.module or "")
                base = importlib.util.resolve_name(name, package) if child.level else name
                names = [f"{base}.{alias.name}" for alias in child.names]
                found.extend((name if name in MODULES else base, top) for name in names)
            elif not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
                visit(child, top and not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))

    visit(ast.parse(MODULES[module].read_text()), True)
    return found


def room(module):
    """The room of one of our modules, None for any other."""
    parts = module.split(".")
    name = ".".join(parts[:2]) if parts[0] == "orchestrator" else parts[0]
    return name if any(name in floor for floor in ROOMS) else None


def floor_of(name):
    return next(i for i, floor in enumerate(ROOMS) if name in floor)


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downwards(module):
    here = room(module)
    assert here, f"{module} is in no room of the design"
    upwards = [
        name
        for name, _ in imports(module)
        if (there := room(name)) and there != here and floor_of(there) <= floor_of(here)
    ]
    assert not upwards, f"{module} imports {upwards}"


@pytest.mark.parametrize("module", MODULES)
def test_heavy_packages_stay_in_their_rooms(module):
    for name, top in imports(module):
        package = name.split(".")[0]
        if package in AT_HOME:
            assert room(module) in AT_HOME[package], f"{module} imports {name}"
            assert not top or module in LATE, f"{module} imports {name} as soon as it is loaded"


@pytest.mark.parametrize("module", MODULES)
def test_late_modules_are_imported_late(module):
    early = [name for name, top in imports(module) if top and name in LATE]
    assert not early, f"{module} imports {early} as soon as it is loaded"


def test_the_rules_find_what_breaks_them(monkeypatch, tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("import ray.tune\n\ndef f():\n    from orchestrator.sweep import driver\n")
    monkeypatch.setitem(MODULES, "orchestrator.spec.bad", path)
    with pytest.raises(AssertionError, match=r"bad imports \['orchestrator.sweep.driver'\]"):
        test_imports_run_downwards("orchestrator.spec.bad")
    with pytest.raises(AssertionError, match=r"bad imports ray.tune"):
        test_heavy_packages_stay_in_their_rooms("orchestrator.spec.bad")


def loaded_by(code):
    """The heavy packages that a fresh interpreter has loaded after running some code."""
    show = f"{code}\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", f"import sys\n{show}"], capture_output=True, text=True, check=True)
    return ran.stdout.splitlines()[-1].split()


@pytest.mark.parametrize("code", ["import orchestrator", "import orchestrator.spec", "import orchestrator.api"])
def test_importing_jackpot_loads_nothing_heavy(code):
    assert loaded_by(code) == []


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["new", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    code = f"""
from orchestrator.cli.app import app
try:
    app({arguments!r})
except SystemExit as end:
    assert not end.code"""
    assert loaded_by(code) == []
