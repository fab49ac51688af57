"""What a piece of code is: the hash of its source and of the sources it stands on."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from functools import cache
from pathlib import Path


@cache
def source_hash(module: str) -> str:
    """SHA-256 over the source of `module` and of every module it imports, directly or not, from its own
    top-level package or from `methods`. A mended helper thus changes every key that it took part in. Imports
    are read from the text, so that those inside functions count too. Raises ImportError for an unknown module."""
    files: dict[str, bytes] = {}
    _collect(module, {module.split(".")[0], "methods"}, files)
    lines = [f"{name}:{hashlib.sha256(text).hexdigest()}" for name, text in sorted(files.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _collect(module: str, packages: set[str], files: dict[str, bytes]) -> None:
    if module in files:
        return
    path = _path(module)
    if path is None:
        raise ImportError(f"the source of module {module!r} cannot be found")
    files[module] = path.read_bytes()
    for name in _imports(module, path, files[module]):
        if name.split(".")[0] in packages and _path(name) is not None:
            _collect(name, packages, files)


def _path(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
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
