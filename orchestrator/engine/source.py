"""What a piece of code is: the hash of its source and of the sources it stands on."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from functools import cache
from pathlib import Path

_STDLIB = Path(ast.__file__).parent


@cache
def source_hash(module: str) -> str:
    """SHA-256 over the source of `module` and of every module it imports, directly or not, from its own
    top-level package, from the folder that this lies in (unless that is where packages are installed) or from
    `methods`. A mended helper thus changes every key that it took part in. Imports are read from the text, so that
    those inside functions count too. Raises ImportError for an unknown module."""
    files: dict[str, bytes] = {}
    top = module.split(".")[0]
    _collect(module, {top, "methods"}, _home(top), files)
    lines = [f"{name}:{hashlib.sha256(text).hexdigest()}" for name, text in sorted(files.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _home(top: str) -> Path | None:
    """The folder that a top-level module lies in, where that is a user's own."""
    path = _path(top)
    if path is None:
        return None
    home = path.parent.parent if path.name == "__init__.py" else path.parent
    return None if _installed(path) else home


def _installed(path: Path) -> bool:
    """Whether a file came with Python or a package, rather than from its user's hand."""
    return bool({"site-packages", "dist-packages"} & set(path.parts)) or path.is_relative_to(_STDLIB)


def _collect(module: str, packages: set[str], home: Path | None, files: dict[str, bytes]) -> None:
    if module in files:
        return
    path = _path(module)
    if path is None:
        raise ImportError(f"the source of module {module!r} cannot be found")
    files[module] = path.read_bytes()
    for name in _imports(module, path, files[module]):
        found = _path(name)
        if found is None:
            continue
        beside = home is not None and found.is_relative_to(home) and not _installed(found)
        if beside or name.split(".")[0] in packages:
            _collect(name, packages, home, files)


def _path(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ModuleNotFoundError, ValueError):  # ValueError: a program's own __main__
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def _imports(module: str, path: Path, text: bytes) -> set[str]:
    """Every module name that the text may import: for `from a import b` both a and a.b."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, package)
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return names
