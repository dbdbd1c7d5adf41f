"""The scripts and sentences themselves: no markup from data, no import, no address, both languages complete."""

from __future__ import annotations

import ast
import re
from importlib import resources
from pathlib import Path

import pytest
import workbench_widgets
from workbench_widgets import COMPONENTS, Component
from workbench_widgets.component import asset, locale_table, synced_traits

PACKAGE = Path(workbench_widgets.__file__).parent
SCRIPTS = sorted(path.name for path in (PACKAGE / "assets").glob("*.js"))
OWN_SCRIPTS = sorted({component.script for component in COMPONENTS})
SVG_NAME = '"http://www.w3.org/2000/svg"'  # the name of a namespace, asked from nobody
HAN = re.compile("[\u3400-\u9fff]")


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_turns_data_into_markup_or_reaches_out(name: str) -> None:
    code = "\n".join(line.split("//")[0] for line in asset(name).replace(SVG_NAME, "").splitlines())
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "import ", "import(", "fetch(", "XMLHttpRequest", "http:", "https:", "href", "src", "DOMParser", "localStorage"):  # fmt: skip
        assert forbidden not in code, forbidden


def test_the_style_sheet_names_no_file_and_no_address() -> None:
    for forbidden in ("url(", "@import", "@font-face", "http"):
        assert forbidden not in asset("theme.css")


@pytest.mark.parametrize("component", COMPONENTS)
def test_script_and_class_know_the_same_traits(component: type[Component]) -> None:
    declared = re.search(r"traits: \[([^\]]*)\]", asset(f"{component.script}.js"))
    common = re.search(r"const COMMON = \[([^\]]*)\]", asset("dom.js"))
    assert declared is not None
    assert common is not None
    known = set(re.findall(r'"(\w+)"', declared[1])) | set(re.findall(r'"(\w+)"', common[1])) | {"event"}
    widget = component()
    assert set(synced_traits(widget)) == known
    assert set(widget.written_traits()) <= known
    widget.close()


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_script_raises_only_events_its_class_declares(component: type[Component]) -> None:
    raised = set(re.findall(r'ctx\.emit\("(\w+)"', asset(f"{component.script}.js")))
    assert raised <= component().known_events()
    assert set(component.events) - {"action"} <= raised


def test_both_languages_say_everything_with_the_same_fields() -> None:
    for key, texts in locale_table().items():
        assert set(texts) == {"zh", "en"}, key
        assert sorted(re.findall(r"\{(\w+)\}", texts["zh"])) == sorted(re.findall(r"\{(\w+)\}", texts["en"])), key
        assert not HAN.search(texts["en"].replace("资产档", "")), key
        for word in ("请您", "温馨提示", "绝对", "Please", "please", "Oops", "!"):
            assert word not in texts["zh"] + texts["en"].replace("!=", ""), key


@pytest.mark.parametrize("name", OWN_SCRIPTS)
def test_a_script_uses_only_sentences_that_exist(name: str) -> None:
    table = locale_table()
    for key in re.findall(r'ctx\.t\("([\w.]+)"', asset(f"{name}.js")) + re.findall(
        r'heading: "([\w.]+)"', asset(f"{name}.js")
    ):
        assert key in table, key
    assert f"{name}.empty" in table or name in ("answer_strip", "badge")


def test_no_sentence_is_left_over() -> None:
    everything = "\n".join(asset(name) for name in SCRIPTS)
    for key in locale_table():
        part, name = key.split(".", 1)
        composed = name in ("empty", "refused", "failed", "tampered") or f"`{part}.${{" in everything
        assert composed or key in everything, key


@pytest.mark.parametrize("name", [*OWN_SCRIPTS, "dom", "panel_adapter"])
def test_every_sentence_comes_from_the_table_and_not_from_a_script(name: str) -> None:
    for line in asset(f"{name}.js").splitlines():
        if line.strip().startswith("//") or "const WORDS" in line:
            continue
        assert not re.findall("[\u3400-\u9fff]", line.replace("万亿", "")), line


def test_the_package_imports_nothing_of_the_workbench_and_panel_only_in_its_own_module() -> None:
    for path in PACKAGE.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) if not node.level}
        roots = {name.split(".")[0] for name in names}
        assert "workbench" not in roots, path.name
        assert not ({"panel", "param"} & roots) or path.name == "panel_pane.py"


def test_the_assets_are_read_as_package_data() -> None:
    folder = resources.files("workbench_widgets").joinpath("assets")
    assert {"theme.css", "dom.js", "formats.js", "locale.json"} <= {entry.name for entry in folder.iterdir()}


def _tokens(selector: str) -> dict[str, str]:
    block = asset("theme.css").split(selector, 1)[1].split("}", 1)[0]
    return dict(re.findall(r"--([\w-]+): (#[0-9A-F]{6})", block))


def _contrast(first: str, second: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("selector", [":host {", ':host([data-theme="dark"]) {'])
def test_every_pair_of_text_and_ground_reaches_the_contrast_of_the_design(selector: str) -> None:
    """WCAG 2.2: text 4.5, controls 3; the design promises 5.9 for text."""
    token = _tokens(selector)
    grounds = [token["surface"], token["bg"], token["surface2"]]
    for state in ("sealed", "pending", "failed", "tampered", "primary", "simulated"):
        for ground in (token["surface"], token[f"{state}-tint"]):
            assert round(_contrast(token[state], ground), 1) >= 5.9, state
        assert _contrast(token[state], token["bg"]) >= 4.5, state
        assert _contrast(token["text"], token[f"{state}-tint"]) >= 4.5
        assert _contrast(token["text2"], token[f"{state}-tint"]) >= 4.5
    for ground in grounds:
        assert _contrast(token["text"], ground) >= 4.5
        assert _contrast(token["text2"], ground) >= 4.5
    for ink, ground in (("on-primary", "primary"), ("on-refused", "refused"), ("on-tampered", "tampered")):
        assert _contrast(token[ink], token[ground]) >= 5.9
    for edge in ("control", "primary"):
        assert _contrast(token[edge], token["surface"]) >= 3.0
