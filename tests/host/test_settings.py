from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workbench.contracts import Setting
from workbench.errors import StartRefused
from workbench.loading import load_plugins
from workbench.settings import HOST_SETTINGS, Settings

DECLARED = (
    Setting("a.count", int, 5, "1", "数", "a count"),
    Setting("a.share", float, 0.5, "1", "比例", "a share"),
    Setting("a.names", dict, {"x": ["甲", "one"]}, "", "名称", "names"),
    Setting("a.switch", bool, False, "", "开关", "a switch"),
)


def test_what_is_not_set_has_its_default() -> None:
    settings = Settings(DECLARED, {"a.count": 7})
    assert settings["a.count"] == 7
    assert settings["a.share"] == 0.5
    assert settings["a.names"] == {"x": ["甲", "one"]}


def test_an_unknown_name_stops_the_start() -> None:
    """A misspelt floor must not leave the default floor in force in silence."""
    with pytest.raises(StartRefused, match=r"a\.cuont") as refused:
        Settings(DECLARED, {"a.cuont": 7})
    assert refused.value.code == "UNKNOWN_SETTING"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a.count", "7"),
        ("a.count", 7.0),
        ("a.count", True),
        ("a.count", None),
        ("a.share", "0.5"),
        ("a.share", True),
        ("a.names", []),
        ("a.switch", 1),
    ],
)
def test_a_value_of_another_type_stops_the_start(name: str, value: Any) -> None:
    with pytest.raises(StartRefused) as refused:
        Settings(DECLARED, {name: value})
    assert refused.value.code == "WRONG_SETTING"


def test_a_whole_number_may_stand_for_a_share() -> None:
    share = Settings(DECLARED, {"a.share": 1})["a.share"]
    assert share == 1.0
    assert type(share) is float


def test_a_file_that_is_not_there_means_defaults_and_one_that_is_counts(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    assert Settings.from_file(DECLARED, path)["a.count"] == 5
    path.write_text(json.dumps({"a.count": 9}), "utf-8")
    assert Settings.from_file(DECLARED, path)["a.count"] == 9


def test_an_undeclared_setting_cannot_be_read() -> None:
    with pytest.raises(KeyError):
        Settings(DECLARED)["a.other"]


def test_every_default_has_the_type_it_declares_and_words_in_both_languages() -> None:
    for one in [*HOST_SETTINGS, *load_plugins().collect_all("workbench_settings")]:
        assert type(one.default) is one.kind, one.name
        assert one.zh, one.name
        assert one.en.isascii(), one.name
