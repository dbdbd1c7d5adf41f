"""Texts of pages, sidebar and shell: both languages, the same keys, the same fields, and every key that code asks for."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
from workbench.app.texts import problems, texts_of, translate
from workbench.loading import load_plugins

ROOT = Path(__file__).parents[2]
PARTS = ROOT / "workbench/jupyter/labextensions/evidence-workbench/static/parts"


def packages() -> list[str]:
    """The shell, and every plugin with a page."""
    plugins = load_plugins()
    named = [plugins.manager.get_plugin(name).__name__ for name, _ in plugins.collect("workbench_dashboards")]
    return ["workbench.app", *named]


@pytest.mark.parametrize("package", packages())
def test_both_languages_have_the_same_keys_and_fields(package: str) -> None:
    texts = texts_of(package)
    assert texts["zh"], f"{package} has no texts"
    assert problems(texts) == []


def test_what_is_wrong_with_texts_is_named() -> None:
    wrong = {"zh": {"a": "{n} 位", "b": "x", "c": " "}, "en": {"a": "{m} people", "c": "y", "d": "z"}}
    assert problems(wrong) == ["b: only in one language", "d: only in one language", "a: the languages take different fields", "c: empty"]


def test_fields_are_put_in_as_they_are_and_not_read_again() -> None:
    texts = {"zh": {"a": "{name}：{n}"}, "en": {"a": "{name}: {n}"}}
    assert translate(texts, "zh", "a", {"name": "{n}<b>", "n": 3}) == "{n}<b>：3"
    with pytest.raises(KeyError):
        translate(texts, "en", "a", {"name": "x"})
    with pytest.raises(KeyError):
        translate(texts, "en", "missing", {})


def test_every_key_the_shell_asks_for_exists() -> None:
    source = (ROOT / "workbench/app/shell.py").read_text("utf-8")
    asked = set(re.findall(r'self\.t\("([\w.]+)"', source)) | set(re.findall(r'"((?:signin|offline|unknown|denied|failed)\.\w+)"', source))
    assert asked and asked <= texts_of("workbench.app")["zh"].keys() | {"confirm.done"}


@pytest.mark.parametrize("package", packages())
def test_sentences_keep_to_the_house_style(package: str) -> None:
    for key, sentence in texts_of(package)["zh"].items():
        assert not re.search("请您|温馨提示|绝对安全|失败啦|！", sentence), key
    for key, sentence in texts_of(package)["en"].items():
        assert not re.search(r"\b(please|oops)\b|!", sentence, re.IGNORECASE), key


def _table(source: str, name: str, lang: str) -> dict[str, str]:
    """The flat object of one language in texts.js: key: 'sentence' pairs."""
    block = source.split(f"export const {name} = {{")[1].split("\n};")[0]
    part = re.split(r"\n  (?=(?:zh|en): \{)", "\n" + block)
    [text] = [one for one in part if one.strip().startswith(f"{lang}:")]
    return {
        (key or quoted): value.replace("\\'", "'")
        for quoted, key, value in re.findall(r"(?:'([\w-]+)'|(\w+)): '((?:[^'\\]|\\.)*)'", text)
    }


@pytest.mark.parametrize("name", ["TEXTS", "PHASES"])
def test_the_sidebar_says_everything_in_both_languages(name: str) -> None:
    source = (PARTS / "texts.js").read_text("utf-8")
    zh, en = _table(source, name, "zh"), _table(source, name, "en")
    assert len(zh) > 7 and problems({"zh": zh, "en": en}) == []


def test_every_key_the_sidebar_asks_for_exists() -> None:
    known = _table((PARTS / "texts.js").read_text("utf-8"), "TEXTS", "zh").keys()
    source = "".join(path.read_text("utf-8") for path in PARTS.glob("*.js"))
    asked = set(re.findall(r"\bt\('(\w+)'", source)) | set(re.findall(r"named\('(\w+)'", source))
    assert asked and asked <= known


def test_scripts_never_read_a_string_as_markup() -> None:
    """Decision 21: names come from partners and files; one innerHTML would make them code."""
    scripts = [*PARTS.glob("*.js"), PARTS.parent / "remoteEntry.js", *Path(str(files("workbench.app"))).glob("assets/*.js")]
    scripts += list((ROOT / "plugins").glob("*/**/*.js"))
    for path in scripts:
        found = re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser", path.read_text("utf-8"))
        assert found is None, f"{path.name}: {found}"


def test_no_script_or_style_names_another_machine() -> None:
    own = [*PARTS.parent.rglob("*"), *Path(str(files("workbench.app"))).glob("assets/*")]
    for path in own:
        if path.is_file():
            urls = set(re.findall(r"https?://[^\s'\"`)]+", path.read_text("utf-8")))
            assert urls <= {"http://www.w3.org/2000/svg"}, path.name


def test_the_lab_extension_is_what_jupyterlab_looks_for() -> None:
    package = json.loads((PARTS.parents[1] / "package.json").read_text("utf-8"))
    built = package["jupyterlab"]["_build"]
    assert (PARTS.parents[1] / built["load"]).is_file() and built["extension"] == "./extension"
    assert f"NAME = '{package['name']}'" in (PARTS.parents[1] / built["load"]).read_text("utf-8")
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    for source, target in re.findall(r'^"([\w/.-]+)" = "((?:share|etc)/[\w/.-]+)"$', project, re.MULTILINE):
        assert (ROOT / source).exists(), source
        assert target.split("/")[0] in ("share", "etc")
    assert f'"share/jupyter/labextensions/{package["name"]}"' in project
