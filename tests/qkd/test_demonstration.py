"""The demonstration's two institutions over the channel of their line: what is set, and that it waits for keys instead of going another way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from workbench_qkd import demonstration

from workbench.channel import tls_groups
from workbench.errors import KeyUnavailable

ENDS = ("broker", "bank")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    for party, kept in zip(ENDS, ({"node.channels": {"cardnet": "mutual-tls"}, "qkd.follow_s": 1.0}, {}), strict=True):
        (tmp_path / party).mkdir()
        (tmp_path / party / "settings.json").write_text(json.dumps(kept), "utf-8")
    return tmp_path


def settings(workspace: Path, party: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((workspace / party / "settings.json").read_text("utf-8"))
    return found


def test_both_nodes_call_one_another_over_the_channel_and_all_else_stays(workspace: Path) -> None:
    for _ in range(2):
        demonstration.carry(workspace, ENDS)
        assert settings(workspace, "broker") == {"node.channels": {"cardnet": "mutual-tls", "bank": "qkd"}, "qkd.follow_s": 1.0}
        assert settings(workspace, "bank") == {"node.channels": {"broker": "qkd"}}


def test_where_the_library_lacks_the_group_nothing_is_set(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(*_values: str) -> None:
        raise KeyUnavailable("没有", "none", code="LINK_UNAVAILABLE")

    monkeypatch.setattr(tls_groups, "require_available", lacks)
    with pytest.raises(KeyUnavailable, match="LINK_UNAVAILABLE"):
        demonstration.carry(workspace, ENDS)
    assert "bank" not in str(settings(workspace, "broker")) and settings(workspace, "bank") == {}


def test_without_entities_that_run_there_are_no_keys_to_wait_for(workspace: Path) -> None:
    (workspace / demonstration.FOLDER).mkdir()
    assert demonstration.await_keys(workspace, ENDS, limit_s=60.0) is False
