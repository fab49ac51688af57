"""What a method's source is: its text and that of all it stands on."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.engine.source import source_hash

PACKAGE = {
    "__init__": "",
    "top": "import torch\nfrom . import middle\n",
    "middle": "def late():\n    from hashpkg.sub.deep import value\n",
    "sub/__init__": "",
    "sub/deep": "from .. import cycle\nvalue = 1\n",
    "cycle": "import hashpkg.top\n",
    "stranger": "value = 1\n",
    "on_methods": "from methods.snip import Snip\n",
}
Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """A package `hashpkg`; writes one of its modules anew."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(module: str, text: str) -> None:
        path = tmp_path / "hashpkg" / f"{module}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        importlib.invalidate_caches()
        source_hash.cache_clear()

    for module, text in PACKAGE.items():
        write(module, text)
    yield write
    for name in [name for name in sys.modules if name.split(".")[0] == "hashpkg"]:
        del sys.modules[name]
    source_hash.cache_clear()


@pytest.mark.parametrize("module", ["top", "middle", "sub/deep", "cycle"])
def test_an_edit_of_anything_it_stands_on_changes_the_hash(write: Write, module: str) -> None:
    before = source_hash("hashpkg.top")
    write(module, PACKAGE[module] + "# edited\n")
    assert source_hash("hashpkg.top") != before
    write(module, PACKAGE[module])
    assert source_hash("hashpkg.top") == before


def test_an_edit_of_anything_else_changes_nothing(write: Write) -> None:
    before = source_hash("hashpkg.top")
    write("stranger", "value = 2\n")
    assert source_hash("hashpkg.top") == before
    assert source_hash("hashpkg.stranger") != before


def test_a_plugin_stands_on_the_methods_it_imports_too(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.engine import source

    plain, before = source._path, source_hash("hashpkg.on_methods")
    snip = plain("methods.masks")
    assert snip is not None
    copy = tmp_path / "masks.py"
    copy.write_text(snip.read_text() + "# a mended helper\n")
    source_hash.cache_clear()
    monkeypatch.setattr(source, "_path", lambda module: copy if module == "methods.masks" else plain(module))
    assert source_hash("hashpkg.on_methods") != before
    assert source_hash("methods.lottery") != source_hash("methods.snip")


def test_a_built_in_method_does_not_stand_on_another() -> None:
    from orchestrator.engine import source

    def files(module: str) -> set[str]:
        found: dict[str, bytes] = {}
        source._collect(module, {"methods"}, None, found)
        return set(found)

    assert "methods.masks" in files("methods.snip")
    for method in ("dense", "random", "snip", "lottery"):
        others = {f"methods.{other}" for other in ("dense", "random", "snip", "lottery") if other != method}
        assert not files(f"methods.{method}") & others
        assert "methods.registry" not in files(f"methods.{method}")


def test_an_unknown_module_is_refused() -> None:
    with pytest.raises(ImportError, match="the source of module 'hashpkg_nowhere' cannot be found"):
        source_hash("hashpkg_nowhere")


def test_a_users_module_stands_on_the_modules_beside_it(write: Write, tmp_path: Path) -> None:
    (tmp_path / "hashside.py").write_text("import torch\nvalue = 1\n")
    write("middle", "import hashside\n")
    before = source_hash("hashpkg.top")
    (tmp_path / "hashside.py").write_text("import torch\nvalue = 2\n")
    source_hash.cache_clear()
    assert source_hash("hashpkg.top") != before
