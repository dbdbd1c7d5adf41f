"""Documents are tested: what the program has stands in them, what they name exists, and generated parts have not drifted."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions, version
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from tools import documents
from workbench.cli import build_parser
from workbench.domain.party import ROLE_NAMES
from workbench.hookspecs import HookSpecs
from workbench.loading import load_plugins

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SOURCES = sorted(path for folder in ("workbench", "plugins") for path in (ROOT / folder).rglob("*.py"))


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_generated_parts_are_what_the_program_says_now(capsys: pytest.CaptureFixture[str]) -> None:
    status = documents.main(["--check"])
    assert status == 0, capsys.readouterr().err


def test_the_check_notices_a_changed_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the test above: a check that sees nothing would pass for ever."""
    for path in (ROOT / "docs").rglob("*.md"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text("utf-8"), "utf-8")
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    monkeypatch.setattr(documents, "DOCS", tmp_path / "docs")
    assert documents.main([]) == 0
    before = (tmp_path / "docs" / "settings.md").read_text("utf-8")
    settings = tmp_path / "docs" / "settings.md"
    settings.write_text(settings.read_text("utf-8").replace("`node.max_skew_s`", "`node.skew`"), "utf-8")
    assert documents.main(["--check"]) == 1
    assert documents.main([]) == 0
    assert settings.read_text("utf-8") == before
    (tmp_path / "docs" / "hooks.md").write_text("# no place for the table", "utf-8")
    assert documents.main(["--check"]) == 1


def test_the_architecture_names_every_plugin_program_and_folder_of_the_host() -> None:
    """A newcomer finds what is installed; and what the list names is there."""
    told = text("docs/architecture.md").partition("## 3. The sources")[2].partition("```")[2].partition("```")[0]
    here = {path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py")} | {path.parent.name + "/" for path in (ROOT / "workbench").glob("*/__init__.py")}
    assert [name for name in sorted(here) if not re.search(rf"(?m)(^|\s){re.escape(name)}", told)] == []
    named = set(re.findall(r"(?m)^  (workbench_[a-z_]+|[a-z]+/)", told))
    assert sorted(named - here) == []


def test_every_hook_has_a_paragraph() -> None:
    hooks = [name for name in vars(HookSpecs) if name.startswith("workbench_")]
    assert [name for name in hooks if f"**{name}.**" not in text("docs/hooks.md")] == []


def test_every_evidence_kind_and_field_is_listed_with_its_visibility() -> None:
    listed = text("docs/evidence.md")
    for kind in documents.all_kinds(load_plugins()):
        part = listed.partition(f"**`{kind.name}`**")[2].partition("\n**`")[0]
        assert part, kind.name
        for one in kind.fields:
            assert re.search(rf"^\| `{one.name}` \| {one.visibility.value} ", part, re.MULTILINE), (kind.name, one.name)


def test_every_setting_stands_with_its_default() -> None:
    listed = text("docs/settings.md")
    for one in documents.all_settings(load_plugins()):
        assert f"| `{one.name}` | {one.kind.__name__} | `{json.dumps(one.default, ensure_ascii=False)}` |" in listed


def test_every_operation_and_role_stands_in_the_role_table() -> None:
    listed = text("docs/operations.md")
    for one in documents.all_operations(load_plugins()):
        row = next(line for line in listed.splitlines() if line.startswith(f"| `{one.name}` |"))
        assert row.count("●") == len(one.roles), one.name
    for role, (zh, _) in ROLE_NAMES.items():
        assert role.value in listed, role
        assert zh in listed, role


def test_every_command_and_option_is_described() -> None:
    listed = text("docs/commands.md")
    for words in ("demo", "init", "up", "status", "down", "doctor", "import customers", "import consents", "consent withdraw",
                  "intersect", "verify", "trust export", "audit", "evidence", "call"):  # fmt: skip
        assert f"### workbench {words}\n" in listed, words
    assert build_parser().prog == "workbench"
    for option in ("--no-browser", "--check", "--parties", "--empty", "--detach", "--with", "--min-crowd", "--auto-approve",
                   "--trust", "--list", "--out", "--key", "--audience"):  # fmt: skip
        assert f"`{option}`" in listed, option


def test_every_error_code_that_the_sources_name_is_listed() -> None:
    """Found by searching the text, not with the tool that writes the document."""
    listed = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", text("docs/errors.md")))
    for path in SOURCES:
        source = path.read_text("utf-8")
        named = re.findall(r'code=\(?"([A-Z][A-Z0-9_]+)"', source) + re.findall(r'default_code = "([A-Z_]+)"', source)
        named += re.findall(r'code="[A-Z_]+" if [^"\n]*else "([A-Z_]+)"', source)
        assert set(named) <= listed, (path.name, set(named) - listed)


def test_every_listed_error_has_both_languages() -> None:
    for line in text("docs/errors.md").splitlines():
        if re.match(r"\| `[A-Z]", line):
            code, zh, en = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:4])
            assert re.search(r"[\u4e00-\u9fff…]", zh), code
            assert en, code


def test_every_decision_note_is_in_the_index_and_says_situation_choice_and_price() -> None:
    index = text("docs/decisions/README.md")
    numbers = []
    for path in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")):
        note = path.read_text("utf-8")
        numbers.append(path.name[:4])
        assert note.startswith(f"# {path.name[:4]} "), path.name
        assert f"({path.name})" in index, path.name
        for part in ("Situation", "Choice", "Price"):
            assert part in note, (path.name, part)
    assert len(numbers) == len(set(numbers))


def test_every_dependency_has_a_row_in_its_decision_note() -> None:
    note = text("docs/decisions/0001-dependencies.md")
    for name in declared():
        assert re.search(rf"\b{re.escape(name)}\b", note), name


def declared() -> list[str]:
    project = tomllib.loads(text("pyproject.toml"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    return [re.match(r"[A-Za-z0-9._-]+", one)[0] for one in wanted]  # type: ignore[index]  # every line starts with a name


def test_what_the_sources_import_is_declared() -> None:
    """A package that only another one happens to install can vanish with that other's next release."""
    project = tomllib.loads(text("pyproject.toml"))["project"]
    direct = {re.match(r"[A-Za-z0-9._-]+", one)[0].lower() for one in project["dependencies"]}  # type: ignore[index]
    # A package of an extra may be missing, so whoever names it first asks whether it is there.
    extras = {re.match(r"[A-Za-z0-9._-]+", one)[0].lower() for name, ones in project["optional-dependencies"].items() if name != "dev" for one in ones}  # type: ignore[index]
    provided_by = packages_distributions()
    for path in [*SOURCES, *(ROOT / "widgets").rglob("*.py")]:
        tree = ast.parse(path.read_text("utf-8"))
        for name in imported(tree):
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and not top.startswith("workbench"):
                distributions = {re.sub(r"[-_.]+", "-", one).lower() for one in provided_by.get(top, [])}
                inner = {one for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom) for one in imported(node)}
                assert distributions & direct or (distributions & extras and name in inner), (path.name, top)


def imported(tree: ast.AST) -> set[str]:
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module and not node.level}


def test_pins_are_plain_names_and_versions_and_cover_what_is_declared() -> None:
    lines = [line for line in text("constraints.txt").splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line)] == []
    pinned = {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower(): line.partition("==")[2] for line in lines}
    for name in declared():
        assert pinned.get(re.sub(r"[-_.]+", "-", name).lower()) == version(name), name


def test_every_pin_fits_the_oldest_python_in_use() -> None:
    """Debian 12 has Python 3.11.2; one pin that wants 3.11.5 breaks `make install` there."""
    pins = dict(line.split("==") for line in text("constraints.txt").splitlines() if not line.startswith("#"))
    checked = 0
    for name, pinned in pins.items():
        try:
            installed = metadata(name)
        except PackageNotFoundError:
            continue  # needed on another platform or Python only
        if installed["Version"] == pinned and installed["Requires-Python"]:
            checked += 1
            assert SpecifierSet(installed["Requires-Python"]).contains("3.11.2"), name
    assert checked > 100


def test_no_document_or_source_says_where_it_was_written() -> None:
    """Folders of one machine and addresses of package registries have no place in the project."""
    places = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/|pypi\.org|registry\.npmjs|index-url", re.IGNORECASE)
    for path in [*DOCUMENTS, *SOURCES, ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / "constraints.txt"]:
        assert places.search(path.read_text("utf-8")) is None, path.name


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_the_readme_leads_to_every_document() -> None:
    readme = text("README.md")
    for path in [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "protocols").glob("*.md")]:
        assert f"({path.relative_to(ROOT).as_posix()})" in readme, path.name


def test_the_test_command_of_the_readme_is_what_ci_runs() -> None:
    assert re.search(r"^make test\b", text("README.md"), re.MULTILINE)
    assert re.search(r"^exec make test$", text(".ci/run"), re.MULTILINE)
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_make_has_every_target_of_the_readme_and_of_the_contributors() -> None:
    makefile = text("Makefile")
    for target in ("install", "system", "demo", "test", "lint", "bench", "soak", "clean", "documents", "pins"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    used = re.findall(r"`make ([a-z]+)", text("README.md") + text("CONTRIBUTING.md") + text("docs/operations.md"))
    for target in used:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
