from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.errors import StartRefused
from workbench.workspace import require_trusted_program


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A plugin package installed in a folder of its own, and imported."""
    package = tmp_path / "installed" / "trial_plugin_folder" / "inner"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").write_text("", "utf-8")
    for path in (tmp_path / "installed", *(tmp_path / "installed").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))
    importlib.import_module("trial_plugin_folder.inner")
    yield package
    for name in [name for name in sys.modules if name.startswith("trial_plugin_folder")]:
        del sys.modules[name]


def test_everything_that_was_imported_must_be_closed_to_others(plugin: Path, tmp_path: Path) -> None:
    """Four folders were looked at once; a plugin installed elsewhere could be rewritten by anybody."""
    require_trusted_program(tmp_path / "no-compiled-code")
    installed = plugin.parent.parent
    for path in (plugin, plugin / "__init__.py", plugin.parent, installed):
        closed = path.stat().st_mode
        for extra in (0o020, 0o002):
            path.chmod(closed | extra)
            with pytest.raises(StartRefused) as refused:
                require_trusted_program(tmp_path / "no-compiled-code")
            assert refused.value.code == "PROGRAM_OPEN" and path.name in refused.value.en
        path.chmod(closed)
    require_trusted_program(tmp_path / "no-compiled-code")
    compiled = tmp_path / ".compiled"
    compiled.mkdir()
    compiled.chmod(0o777)
    with pytest.raises(StartRefused, match="PROGRAM_OPEN"):
        require_trusted_program(compiled)
