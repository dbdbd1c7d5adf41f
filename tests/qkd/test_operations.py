"""Looking, revoking, rehearsing: what the operations tell, order and refuse."""

from __future__ import annotations

from typing import Any

import pytest

from tests.qkd.conftest import Site
from tests.qkd.entity import KEY_ID, NOW_MS, block
from workbench.domain.party import Role
from workbench.errors import Denied, Refused, WorkbenchError
from workbench_kme.service import views


def test_a_node_without_an_entity_says_so_and_runs_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.service, "_attached", None)
    told = site.call("qkd.status")
    assert (told.is_configured, told.lines, told.problem_code) == (False, [], "")
    with pytest.raises(WorkbenchError) as missing:
        site.call("qkd.blocks", line="a1")
    assert missing.value.code == "NO_KME"


def test_an_entity_that_does_not_answer_is_told_with_its_reason(site: Site) -> None:
    site.entity.away = True
    told = site.call("qkd.status")
    assert (told.is_configured, told.problem_code) == (True, "KME_AWAY")
    assert told.problem_zh and told.problem_en


def test_a_simulated_line_is_never_called_quantum(site: Site) -> None:
    found = site.line()
    assert found.provenance == "simulated"
    assert (found.length_km, found.counts) == (10.0, True)
    assert "quantum" not in found.model_dump_json().lower().replace("qber", "")


def test_looking_is_open_to_the_regulator_and_recorded(site: Site) -> None:
    before = len(site.entries("evidence.viewed"))
    site.call("qkd.blocks", Role.REGULATOR, line="a1", limit=7)
    seen = site.entries("evidence.viewed")[before:]
    assert [one.values["operation"] for one in seen] == ["qkd.blocks"]


def test_blocks_come_newest_first_and_alarms_only_of_their_line(site: Site) -> None:
    site.entity.made.append(block(12, state="quarantined", qber=0.08, alarm="qber-drift", keys=0))
    other = views.Alarm(2, "b2", "low-stock", -1, NOW_MS, 0, 1.0, 2.0, "低", "low")
    own = views.Alarm(1, "a1", "qber-drift", 12, NOW_MS, 0, 0.08, 0.008, "升高", "risen")
    site.entity.alarmed = [other, own]
    found = site.call("qkd.blocks", line="a1", limit=3)
    assert [one.block for one in found.blocks] == [12, 11, 10]
    assert [one.kind for one in found.alarms] == ["qber-drift"]
    assert [one.block for one in site.call("qkd.blocks", line="a1", limit=2, before=11).blocks] == [10, 9]


def test_a_forecast_says_when_the_mark_is_reached(site: Site) -> None:
    told = site.call("qkd.forecast", line="a1")
    assert told.hours_to_low == pytest.approx((600 - 128) / 100)


@pytest.mark.parametrize("bad", [{}, {"key_ids": [KEY_ID], "block": 3}])
def test_revoking_wants_either_ids_or_a_block(site: Site, bad: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        site.call("qkd.revoke", line="a1", reason="介质遗失，按预案处理", **bad)
    assert site.entity.asked == []


def test_revoking_ends_the_sessions_of_the_key_and_is_evidence(site: Site) -> None:
    site.node.store.write(
        lambda tx: tx.execute(
            "INSERT INTO qkd_session (session, line, what, policy, state, key_id, opened_ms) VALUES ('S-1', 'a1', 'rehearsal', 'hybrid-required', 'OPEN', ?, ?)",
            (KEY_ID, site.node.now_ms()),
        )
    )
    done = site.call("qkd.revoke", line="a1", key_ids=[KEY_ID], reason="介质遗失，按预案处理")
    assert (done.keys, done.sessions) == (1, 1)
    assert site.entity.asked == [("revoke", "a1", (KEY_ID,), -1)]
    assert site.entries("qkd.revoked")[-1].values["what"] == KEY_ID
    assert [one.state for one in site.call("qkd.sessions", line="a1").sessions] == ["ENDED"]
    assert site.entries("qkd.session_ended")[-1].values["cause"] == "revoked"


def test_a_revocation_waits_for_no_entity_and_is_asked_of_it_until_it_is_done(site: Site) -> None:
    written_down(site, "S-1", KEY_ID)
    written_down(site, "S-2", "1f8fad5b-d9cb-469f-a165-70867728950e")
    site.entity.away = True
    for request in ({"key_ids": [KEY_ID]}, {"block": 7}):
        done = site.call("qkd.revoke", line="a1", reason="介质遗失，按预案处理", **request)
        assert (done.keys, done.sessions, done.is_done, done.problem_code) == (0, 1, False, "KME_AWAY")
    assert set(states(site).values()) == {"ENDED"}, "of a block nobody can say whose keys are whose, so all of the line's end"
    assert site.call("qkd.rekey", line="a1", reason="介质遗失，按预案处理").is_done is False
    assert site.entries("qkd.revoked")[-1].values["keys"] == site.entries("qkd.rekeyed")[-1].values["keys"] == ""
    assert {one.name: one.state for one in site.node.health()}["qkd.revoking"] == "failed"
    site.entity.away = False
    site.node.store.write(lambda tx: tx.execute("INSERT INTO qkd_revoke_again (entry, line, keys, block, is_all) VALUES (0, 'gone', '[]', 3, 0)"))
    for _ in range(2):
        site.follow()
    assert [one for one in site.entity.asked if one[0] in ("revoke", "rekey")] == [("revoke", "a1", (KEY_ID,), -1), ("revoke", "a1", (), 7), ("rekey", "a1")]
    assert [one.values["event"] for one in site.entries("qkd.told")[-4:]] == ["revoked.refused", "revoked.again", "revoked.again", "revoked.again"]
    assert "qkd.revoking" not in {one.name for one in site.node.health()}


def written_down(site: Site, name: str, key_id: str, *, state: str = "OPEN", next_key_id: str = "") -> None:
    """A session as the channel has it in its table."""
    site.node.store.write(
        lambda tx: tx.execute(
            "INSERT INTO qkd_session (session, line, what, policy, state, key_id, next_key_id, opened_ms) VALUES (?, 'a1', 'channel', 'hybrid-required', ?, ?, ?, ?)",
            (name, state, key_id, next_key_id, site.node.now_ms()),
        )
    )


def states(site: Site) -> dict[str, str]:
    return {one.session: one.state for one in site.call("qkd.sessions", line="a1").sessions}


def numbered(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def test_an_id_in_capital_letters_ends_the_sessions_of_its_key(site: Site) -> None:
    written_down(site, "S-1", KEY_ID)
    assert site.call("qkd.revoke", line="a1", key_ids=[KEY_ID.upper()], reason="介质遗失，按预案处理").sessions == 1
    assert site.entity.asked == [("revoke", "a1", (KEY_ID,), -1)]
    assert states(site) == {"S-1": "ENDED"}


@pytest.mark.parametrize("bad", [KEY_ID.replace("-", ""), f"{{{KEY_ID}}}", f"urn:uuid:{KEY_ID}", "", f"{KEY_ID} "])
def test_an_id_in_another_spelling_is_refused_before_anything_is_revoked(site: Site, bad: str) -> None:
    with pytest.raises(WorkbenchError):
        site.call("qkd.revoke", line="a1", key_ids=[KEY_ID, bad], reason="介质遗失，按预案处理")
    assert site.entity.asked == []


def test_revoking_a_key_ends_sessions_that_are_still_being_agreed(site: Site) -> None:
    written_down(site, "S-new", KEY_ID, state="OPENING")
    written_down(site, "S-renewed", numbered(1), next_key_id=KEY_ID)
    written_down(site, "S-other", numbered(2), state="OPENING")
    assert site.call("qkd.revoke", line="a1", key_ids=[KEY_ID], reason="介质遗失，按预案处理").sessions == 2
    assert states(site) == {"S-new": "ENDED", "S-renewed": "ENDED", "S-other": "OPENING"}


def test_replacing_all_keys_ends_sessions_that_are_still_being_agreed(site: Site) -> None:
    written_down(site, "S-new", KEY_ID, state="OPENING")
    turn = site.service.turn("a1")
    assert site.call("qkd.rekey", line="a1", reason="按计划定期换钥").sessions == 1
    assert site.service.turn("a1") == turn + 1, "a key taken before, and not yet written down, begins no session either"
    assert states(site) == {"S-new": "ENDED"}


def test_revoking_a_block_ends_the_sessions_of_its_keys_and_of_keys_nobody_can_tell_of(site: Site) -> None:
    site.entity.block_of = {numbered(1): 3, numbered(2): 4, numbered(3): 4, numbered(4): 3}
    site.entity.states = {numbered(5): "unknown"}
    written_down(site, "S-1", numbered(1))
    written_down(site, "S-2", numbered(2))
    written_down(site, "S-3", numbered(3), next_key_id=numbered(4))
    written_down(site, "S-5", numbered(5))
    written_down(site, "S-none", "")
    assert site.call("qkd.revoke", line="a1", block=3, reason="该块可能已泄露，按预案处理").sessions == 3
    assert states(site) == {"S-1": "ENDED", "S-2": "OPEN", "S-3": "ENDED", "S-5": "ENDED", "S-none": "OPEN"}
    assert {one.values["cause"] for one in site.entries("qkd.session_ended")[-3:]} == {"revoked"}


def test_revoking_a_block_ends_every_session_when_the_entity_does_not_say_whose_key_is_whose(site: Site) -> None:
    site.entity.block_of = {numbered(1): 4, numbered(2): 4}
    site.entity.keeps_quiet = True
    for number in (1, 2):
        written_down(site, f"S-{number}", numbered(number))
    assert site.call("qkd.revoke", line="a1", block=3, reason="该块可能已泄露，按预案处理").sessions == 2
    assert set(states(site).values()) == {"ENDED"}


def test_replacing_all_keys_says_how_many(site: Site) -> None:
    assert site.call("qkd.rekey", line="a1", reason="按计划定期换钥").keys == 600
    assert site.entries("qkd.rekeyed")[-1].values["keys"] == "600"


def test_what_a_key_protected_is_told_and_the_question_recorded(site: Site) -> None:
    told = site.call("qkd.leak_report", Role.AUDITOR, key_id=KEY_ID)
    assert [(one.purpose, one.reference) for one in told.uses] == [("session", "S-0001")]
    entry = site.entries("qkd.leak_reported")[-1]
    assert (entry.values["key_id"], entry.values["uses"]) == (KEY_ID, "1")


def test_a_rehearsed_attack_is_evidence_before_it_begins(site: Site) -> None:
    seen: list[int] = []
    before = len(site.entries("qkd.eavesdropper_set"))
    real = site.entity.eavesdrop

    def watched(line: str, kind: str, fraction: float) -> Any:
        seen.append(len(site.entries("qkd.eavesdropper_set")) - before)
        return real(line, kind, fraction)

    site.entity.eavesdrop = watched  # type: ignore[method-assign]
    told = site.call("qkd.eavesdrop", line="a1", kind="intercept-resend", fraction=0.2)
    assert seen == [1]
    assert told.eavesdropper_fraction == 0.2
    assert site.entries("qkd.eavesdropper_set")[-1].values["fraction"] == "200000"


def test_only_a_demonstration_line_has_an_eavesdropper(site: Site) -> None:
    site.entity.change(demonstration=False)
    with pytest.raises(Refused) as refused:
        site.call("qkd.eavesdrop", line="a1", fraction=0.2)
    assert refused.value.code == "NOT_A_DEMONSTRATION"
    assert site.entity.asked == []
    with pytest.raises(Denied):
        site.call("qkd.eavesdrop", Role.COMPLIANCE, line="a1", fraction=0.2)


def test_no_production_node_knows_the_eavesdropper() -> None:
    from workbench_qkd.operations import OPERATIONS

    named = {one.name: one for one in OPERATIONS}
    assert "production" not in named["qkd.eavesdrop"].workspaces


def test_a_failed_self_test_is_named_in_evidence(site: Site) -> None:
    assert site.call("qkd.selftest").passed
    site.entity.failing = True
    assert not site.call("qkd.selftest").passed
    assert site.entries("qkd.self_test_failed")[-1].values["tests"] == "sm4-gcm"
    assert {one.name: one.state for one in site.node.health()}["qkd.device"] == "failed"


def test_no_reply_and_no_entry_holds_a_key(site: Site) -> None:
    """The plugin never asks for values: the only interface it uses has none."""
    from workbench_qkd.service import Management

    assert not {"get_keys", "get_keys_by_id"} & set(dir(Management))


def test_a_setting_of_another_form_is_refused_by_name(tmp_path: Any) -> None:
    from workbench_qkd.connecting import place

    for wrong in ({"folder": ""}, {"address": "127.0.0.1:1"}, {"folder": "x", "kme": "y"}, []):
        with pytest.raises(WorkbenchError) as refused:
            place(wrong, tmp_path)
        assert refused.value.code == "WRONG_SETTING"
    with pytest.raises(WorkbenchError) as away:
        place({"folder": "kme"}, tmp_path)
    assert away.value.code == "KME_AWAY"
