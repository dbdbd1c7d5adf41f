"""The channel qkd between two nodes: a whole intersection in sessions, and everything that refuses instead of falling back."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from workbench_qkd import channel, policies, sessions, taking
from workbench_qkd.bandwidth import Bandwidth
from workbench_qkd.carried import Carried
from workbench_qkd.service import service_of

from tests.kme.service.kme_pair import imported_plan, until
from tests.qkd.asking import Hellos, altered, causes, end, newest, own, raw, refusal, sent, with_key
from tests.qkd.linked import Linked, linked
from workbench.channel.session_state import Limits
from workbench.domain.party import Role
from workbench.errors import PeerError, PeerUnavailable, StartRefused, StorageFailed
from workbench_kme.service import supervise
from workbench_kme.service.client import Credentials, ManagementClient
from workbench_kme.service.config import Quota
from workbench_kme.service.sites import make_sites
from workbench_kme.sources.imported import make_key_file


@pytest.fixture
def two(linked_two: Linked) -> Linked:
    return linked_two


def test_an_intersection_travels_in_sessions_and_both_logs_name_the_key_ids(two: Linked) -> None:
    for caller, called in (("broker", "bank"), ("bank", "broker")):  # so that no message meets a session of before, and is written down twice
        two.ask(caller, called)
    ours, theirs = two.run("broker", "bank", "wealth-marketing")
    assert (ours.state, theirs.state) == ("RELEASED", "RELEASED")
    used = {party: two.entries(party, job=ours.job, kind="qkd.session_used") for party in ("broker", "bank")}
    named = {
        party: {(one.values["session"], one.values["epoch"], one.values["attempt"], one.values["key_id"], one.values["provenance"]) for one in entries}
        for party, entries in used.items()
    }
    assert named["broker"] == named["bank"], "the same sessions and keys at both ends"
    attempt = {one for one in named["broker"] if one[2] == "1"}
    assert len({one[3] for one in attempt}) == 2, "the calls of each end have a key of their own"
    assert {one[4] for one in attempt} == {"simulated"}
    assert {one.values["partner"] for one in used["bank"]} == {"broker"}
    told = {one[2] for entity in two.entities.values() for one in entity.asked if one[0] == "consume"}
    assert {one[0] for one in attempt} <= told, "a leak report names the session"

    assert {path.removesuffix(" reply") for _, path, _ in two.seen} <= {"qkd/ready", "qkd/hello", "qkd/confirm", "qkd/call", "qkd/end"}
    travelled = b"".join(body for _, _, body in two.seen)
    assert ours.job.encode() not in travelled, "the frames of the flow, whose headers name the job, are sealed"
    assert not [one for one in two.stock.values if one in travelled or one.hex().encode() in travelled or base64.b64encode(one) in travelled]


def test_aes_256_is_used_where_both_ends_allow_it_and_never_otherwise(two: Linked, monkeypatch: pytest.MonkeyPatch) -> None:
    sm4, aes = "x25519-mlkem768-sm3-sm4gcm", "x25519-mlkem768-sm3-aes256gcm"

    def suite_of(broker: list[str], bank: list[str]) -> str:
        for party, wanted in (("broker", broker), ("bank", bank)):
            monkeypatch.setitem(two.nodes[party].settings._values, "qkd.suites", wanted)
        end(two)
        with suppress(PeerError):
            two.ask()
        two.ask()
        return str(own(two).session.facts()["suite"])

    assert suite_of([aes, sm4], [sm4, aes]) == aes, "the caller's order counts"
    assert suite_of([aes, sm4], [sm4]) == sm4
    with pytest.raises(PeerError):
        suite_of([aes], [sm4])
    assert "NO_COMMON_SUITE" in {one.values["code"] for one in two.entries("bank", kind="qkd.session_refused")}
    for wrong in ([], ["rot13"], [sm4, sm4], 7, sm4):
        with pytest.raises(StartRefused, match="WRONG_SETTING"):
            taking.suites(wrong)


def test_a_drained_pool_refuses_with_what_is_missing_and_when_and_sends_nothing_else(two: Linked) -> None:
    two.ask()
    two.stock.left = 0
    end(two)
    two.seen.clear()
    with pytest.raises(PeerUnavailable) as refused:
        two.ask()
    assert (refused.value.code, refused.value.details["missing"], refused.value.details["retry_after_s"]) == ("KEY_EXHAUSTED", "1", "40")
    assert {path for path, _ in sent(two)} <= {"qkd/ready", "qkd/ready reply", "qkd/call reply"}, "neither a hello nor a plain call"
    assert newest(two, "broker", "qkd.session_refused")["code"] == "KEY_EXHAUSTED"
    two.stock.left = 5
    assert json.loads(two.ask())["party"] == "bank"


@pytest.mark.parametrize("where", ["qkd/call", "qkd/call reply"])
def test_an_altered_frame_is_refused(two: Linked, where: str) -> None:
    two.ask()
    two.change = altered(where)
    with pytest.raises(PeerError) as refused:
        two.ask()
    assert refused.value.code == "FRAME_REFUSED"
    two.change = lambda party, path, body: body
    assert json.loads(two.ask())["party"] == "bank", "the session goes on"
    noticed, other = ("bank", "broker") if where == "qkd/call" else ("broker", "bank")
    assert service_of(two.nodes[noticed]).refused_frames[other][1] >= 1
    assert newest(two, noticed, "qkd.frame_refused")["partner"] == other
    assert {one.name: one.state for one in two.nodes[noticed].health()}[f"qkd.frames.{other}"] == "warning"


def test_a_frame_that_comes_again_is_refused(two: Linked) -> None:
    for _ in range(2):  # the first frame of the session has arrived once a later call is answered; the newest may be another call's, on its way
        two.ask()
    taken = sent(two)
    opened = max(at for at, (path, _) in enumerate(taken) if path == "qkd/confirm")
    frame = next(body for path, body in taken[opened:] if path == "qkd/call")
    with pytest.raises(PeerError) as refused:
        raw(two, "qkd/call", frame)
    assert refused.value.code == "FRAME_REFUSED"


def test_a_call_outside_a_session_is_not_looked_at(two: Linked) -> None:
    two.ask()
    with pytest.raises(PeerError) as refused:
        two.run_soon(two.link()._carrier.inner.call("hello", b"", timeout_s=10))
    assert refused.value.code == "CHANNEL_REQUIRED"
    two.wait_until(lambda: any(one.values["code"] == "CHANNEL_REQUIRED" for one in two.entries("bank", kind="peer.refused")))


def test_a_partner_with_another_policy_gets_no_session(two: Linked) -> None:
    two.entities["bank"].change(policy="pqc-only")
    end(two)
    two.seen.clear()
    before = {party: len(two.entries(party, kind="qkd.session_refused")) for party in ("broker", "bank")}
    with pytest.raises(PeerError) as refused:
        two.ask()
    assert refused.value.code == "SESSION_REFUSED"
    assert refused.value.details["reason"] == "SESSION_TERMS_DIFFER"
    assert "qkd/confirm" not in {path for path, _ in sent(two)}
    assert {path[:4] for path, _ in sent(two)} == {"qkd/"}
    # Who asked has the one code in its log, who was asked the other; the bank may be asking meanwhile, for its own calls.
    for party, code in (("broker", "SESSION_REFUSED"), ("bank", "SESSION_TERMS_DIFFER")):
        made = two.entries(party, kind="qkd.session_refused")[before[party] :]
        assert code in {one.values["code"] for one in made}


def test_a_running_session_outlives_an_entity_that_is_away_and_no_new_one_begins(two: Linked) -> None:
    two.ask()
    two.entities["broker"].away = two.stock.away = True
    assert json.loads(two.ask())["party"] == "bank"
    end(two)
    with pytest.raises(PeerError) as refused:
        two.ask()
    assert refused.value.code == "KME_AWAY"


def test_a_key_id_that_comes_again_is_refused(two: Linked) -> None:
    two.ask()
    hello = next(body for path, body in sent(two) if path == "qkd/hello")
    reply = raw(two, "qkd/hello", hello)
    assert reply[:4] == b"WBHS" and reply[5] == 4, "a signed refusal"
    assert b'"code":"QKD_KEY_REQUIRED"' in reply
    assert json.loads(two.ask())["party"] == "bank", "the session that has the key is not disturbed"


def test_a_held_line_ends_running_sessions_and_starts_none(two: Linked) -> None:
    two.ask()
    node = two.nodes["broker"]
    node.store.write(lambda tx: tx.execute("INSERT INTO qkd_held (line, since_ms, cause, block) VALUES ('a1', 1, 'rate-collapse', 1)"))
    with pytest.raises(PeerUnavailable) as refused:
        two.ask()
    assert refused.value.code == "LINE_STOPPED"


@pytest.fixture
def second_line(two: Linked) -> Iterator[Linked]:
    for entity in two.entities.values():
        entity.known["b1"] = replace(entity.known["a1"], line="b1")
    yield two
    node = two.nodes["broker"]
    node.store.write(lambda tx: sessions.end_all(tx, node, "b1", cause="test"))
    for entity in two.entities.values():
        entity.change(peer_reachable=True, state="full")
        del entity.known["b1"]


def test_a_line_that_is_stopped_at_the_far_end_costs_no_key(two: Linked) -> None:
    two.ask()
    far = two.nodes["bank"]
    far.store.write(lambda tx: policies.hold(tx, "a1", at_ms=far.now_ms(), cause="qber-drift", block=3))
    two.seen.clear()
    assert refusal(two).code == "LINE_STOPPED"
    assert "qkd/hello" not in {path for path, _ in sent(two)}, "asked before a key is taken"
    for party in ("broker", "bank"):
        assert "LINE_STOPPED" in {one.values["code"] for one in two.entries(party, kind="qkd.session_refused")}


def test_a_cut_line_leaves_new_sessions_the_other_one_and_both_logs_name_it(second_line: Linked) -> None:
    two = second_line
    two.ask()
    first = own(two)
    two.entities["broker"].change(state="peer-unreachable", peer_reachable=False)
    two.ask()
    assert own(two) is first and first.line == "a1", "a session that runs is not lost"
    end(two)
    assert json.loads(two.ask())["party"] == "bank"
    name = own(two).name
    for party in ("broker", "bank"):
        assert [one.values["line"] for one in two.entries(party, kind="qkd.session_opened") if one.values["session"] == name] == ["b1"]
    passed = [one.values for one in two.entries("broker", kind="qkd.line_passed_over") if one.values["session"] == name]
    assert [(one["line"], one["taken"], one["cause"]) for one in passed] == [("a1", "b1", "peer-unreachable")]
    node = two.nodes["broker"]
    for entity in two.entities.values():
        entity.change("b1", policy="pqc-only")
    node.store.write(lambda tx: sessions.end_all(tx, node, "b1", cause="test"))
    with suppress(PeerError):
        two.ask()
    assert own(two) is None or own(two).line == "a1", "nobody decided that b1 may be weaker than a1"


def test_a_session_that_cannot_be_renewed_on_its_line_is_followed_by_one_on_the_other(second_line: Linked, monkeypatch: pytest.MonkeyPatch) -> None:
    two = second_line
    monkeypatch.setattr(Carried, "_limits", lambda self: Limits(records=8))
    end(two)
    two.ask()
    first = own(two)
    two.entities["broker"].change(state="alarm")
    for _ in range(24):
        with suppress(PeerError):
            two.ask()
        if own(two) is not None and own(two).line == "b1":
            break
    assert own(two).line == "b1"
    assert causes(two, "broker", first.name) == ["other line"]


def test_revoking_the_key_of_a_session_makes_the_next_call_take_another(two: Linked) -> None:
    two.ask()
    before = own(two).session.facts()["key_id"], own(two).name
    two.call("broker", Role.OPERATOR, "qkd.revoke", line="a1", key_ids=[before[0]], reason="演练：密钥可能已泄露")
    two.ask()
    after = own(two).session.facts()["key_id"], own(two).name
    assert (after[0] != before[0], after[1] != before[1]) == (True, True)
    ended = {one.values["session"]: one.values["cause"] for one in two.entries("broker", kind="qkd.session_ended")}
    assert ended[before[1]] == "revoked"


def test_after_a_revocation_of_a_person_all_that_runs_takes_fresh_keys_and_no_call_is_lost(two: Linked) -> None:
    two.ask("broker", "bank")
    two.ask("bank", "broker")
    held, first, theirs = own(two), own(two).session.facts(), own(two, "bank", "broker").name
    service_of(two.nodes["broker"]).renew_sessions()
    assert json.loads(two.ask("broker", "bank"))["party"] == "bank"
    after = own(two).session.facts()
    assert own(two) is held and (after["session"], after["epoch"]) == (first["session"], "1") and after["key_id"] != first["key_id"]
    assert json.loads(two.ask("bank", "broker"))["party"] == "broker", "the partner takes another session and repeats its call there"
    assert own(two, "bank", "broker").name != theirs
    two.wait_until(lambda: causes(two, "broker", theirs) == ["person revoked"])
    two.ask("broker", "bank")
    assert own(two).session.facts() == after, "once is enough"


def test_a_session_that_must_take_a_fresh_key_and_finds_none_carries_nothing_more(two: Linked) -> None:
    two.ask()
    held = own(two)
    two.stock.left = 0
    service_of(two.nodes["broker"]).renew_sessions()
    with pytest.raises(PeerUnavailable, match="KEY_EXHAUSTED"):
        two.ask()
    assert not held.session.live
    two.stock.left = 10
    assert json.loads(two.ask())["party"] == "bank"
    assert own(two).name != held.name


@pytest.mark.parametrize("party", ["broker", "bank"])
def test_a_key_revoked_between_hello_and_confirm_opens_no_session(two: Linked, party: str) -> None:
    hellos = two.change = Hellos(two, revoke_at=party)
    assert refusal(two).code == "SESSION_BROKEN"
    assert with_key(two, party, hellos.seen[0][1]) == ["ENDED"]
    two.change = lambda party, path, body: body
    assert json.loads(two.ask())["party"] == "bank", "another key, another session"


@pytest.mark.parametrize("party", ["broker", "bank"])
def test_a_key_revoked_during_a_renewal_ends_the_session(two: Linked, monkeypatch: pytest.MonkeyPatch, party: str) -> None:
    monkeypatch.setattr(Carried, "_limits", lambda self: Limits(records=8))
    hellos = two.change = Hellos(two, revoke_at=party, renewals_only=True)
    end(two)
    for _ in range(24):
        with suppress(PeerError):
            two.ask()
        if hellos.seen:
            break
    key_id = hellos.seen[0][1]
    with two.nodes[party].store.read() as reader:
        rows = reader.execute("SELECT session, state FROM qkd_session WHERE next_key_id = ?", (key_id,)).fetchall()
    assert [state for _, state in rows] == ["ENDED"], "the session that was about to use it"
    assert causes(two, party, rows[0][0]) == ["revoked"]
    assert with_key(two, party, key_id) == [], "it never became a session's key"


@pytest.mark.parametrize("party", ["broker", "bank"])
@pytest.mark.parametrize("state", ["REVOKED", "QUARANTINED"])
def test_a_key_that_the_entity_took_out_of_use_opens_no_session(two: Linked, party: str, state: str) -> None:
    two.entities[party].usual_state = state
    hellos = two.change = Hellos(two)
    assert refusal(two).code == "SESSION_BROKEN"
    name, key_id, _ = hellos.seen[0]
    assert with_key(two, party, key_id) == ["ENDED"]
    assert causes(two, party, name) == ["revoked"]


@pytest.mark.parametrize("party", ["broker", "bank"])
def test_a_session_whose_key_cannot_be_asked_about_ends(two: Linked, party: str) -> None:
    two.entities[party].keeps_quiet = True
    hellos = two.change = Hellos(two)
    assert refusal(two).code == "KME_AWAY"
    name, key_id, _ = hellos.seen[0]
    assert with_key(two, party, key_id) == ["ENDED"]
    assert causes(two, party, name) == ["key not checked"]


def test_a_key_taken_before_all_keys_of_the_line_were_replaced_is_not_used(two: Linked, monkeypatch: pytest.MonkeyPatch) -> None:
    take = two.stock.get_keys

    def replaced_meanwhile(*values: Any, **named: Any) -> Any:
        taken = take(*values, **named)
        service_of(two.nodes["broker"]).replaced("a1")
        return taken

    monkeypatch.setattr(two.stock, "get_keys", replaced_meanwhile)
    hellos = two.change = Hellos(two)
    assert refusal(two).code == "SESSION_BROKEN"
    assert hellos.seen == []


def test_hellos_without_a_confirmation_keep_four_exchanges_and_one_entry(two: Linked) -> None:
    two.ask()
    ours: Any = two.links["broker"]._links["bank"][1]._channel.carried()  # type: ignore[attr-defined]
    theirs: Any = two.servers[1]._answering._channel.carried()
    begun = []
    for _ in range(12):
        initiator, opened, hello, body = ours.begin("bank")
        _, confirm = ours.agree(initiator, hello, raw(two, "qkd/hello", body))
        begun.append((opened, confirm))
    assert 0 < len(theirs._pending) <= 4, "each holds keys"
    states = [state for opened, _ in begun for state in with_key(two, "bank", opened.key_id)]
    assert (states.count("OPENING") <= 4, states.count("ENDED") <= 1, len(states) < 6) == (True, True, True)
    entered = [opened.session for opened, _ in begun if causes(two, "bank", opened.session)]
    assert len(entered) <= 1, "once a minute"
    with pytest.raises(PeerError) as refused:
        raw(two, "qkd/confirm", begun[7][1])
    assert refused.value.code == "SESSION_UNKNOWN"
    raw(two, "qkd/confirm", begun[11][1])
    assert with_key(two, "bank", begun[11][0].key_id) == ["OPEN"], "the newest can still be confirmed"
    assert json.loads(two.ask())["party"] == "bank"


def test_volume_renews_a_session_with_a_fresh_key_and_without_one_it_stops_at_its_limit(two: Linked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Carried, "_limits", lambda self: Limits(records=16))
    end(two)
    for _ in range(40):
        two.ask()
    name = own(two).name
    for party in ("broker", "bank"):
        renewed = [dict(one.values) for one in two.entries(party, kind="qkd.session_renewed") if one.values["session"] == name]
        assert len(renewed) >= 2
        [first] = [one.values["key_id"] for one in two.entries(party, kind="qkd.session_opened") if one.values["session"] == name]
        assert len({first, *(one["key_id"] for one in renewed)}) == len(renewed) + 1, "a fresh key each time"
    two.stock.left = 0
    with pytest.raises(PeerUnavailable) as refused:
        for _ in range(17):
            two.ask()
    assert refused.value.code == "KEY_EXHAUSTED"
    assert refused.value.details["retry_after_s"] == "40"


def test_a_job_whose_entry_cannot_be_written_sends_nothing_and_costs_no_key(two: Linked, monkeypatch: pytest.MonkeyPatch) -> None:
    two.ask("bank", "broker")  # or the bank's next call, of its own accord, would take a key meanwhile
    two.ask()
    left = two.stock.left

    def failing(*values: Any) -> None:
        raise StorageFailed("写不了", "cannot write")

    monkeypatch.setattr(Carried, "_note_use", failing)
    before = own(two).session.status().sent
    with pytest.raises(PeerError) as refused:
        two.ask(path="message", body=b"any")
    assert refused.value.code == StorageFailed.default_code
    assert own(two).session.status().sent > before, "sealed, and then not sent"
    assert two.stock.left == left


def test_a_request_that_no_frame_can_hold_is_not_sent(two: Linked) -> None:
    with pytest.raises(PeerError) as refused:
        two.ask(body=bytes(channel.MOST_BYTES + 1))
    assert refused.value.code == "BODY_TOO_LARGE"


def test_a_partner_without_a_line_is_refused(two: Linked) -> None:
    two.entities["broker"].change(peer_site="cardnet")
    end(two)
    try:
        with pytest.raises(PeerUnavailable) as refused:
            two.ask()
        assert refused.value.code == "NO_LINE"
    finally:
        two.entities["broker"].change(peer_site="bank")


def test_a_large_message_waits_for_its_bandwidth_and_small_ones_and_the_session_go_on(two: Linked, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    clock = [0]

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += round(seconds * 1e9)

    service = service_of(two.nodes["broker"])
    monkeypatch.setattr(service, "bandwidth", Bandwidth(lambda: {"bank": {"bytes_per_s": 1 << 20}}, clock=lambda: clock[0], sleep=sleep))
    two.ask()
    before, large = own(two).name, b"{" + b" " * (1 << 20) + b"}"
    links = two.links["broker"]
    for _ in range(3):
        links.call("bank", "hello", large, timeout_s=10)
        two.ask()
    assert own(two).name == before, "the session goes on"
    [told] = two.call("broker", Role.OPERATOR, "qkd.status").bandwidth
    shown = two.call("broker", Role.OPERATOR, "qkd.sessions", line="a1").bandwidth
    assert (told.partner, told.bytes_per_s, told.burst) == (shown.partner, shown.bytes_per_s, shown.burst) == ("bank", 1 << 20, 1 << 20)
    assert told.waits >= 2 and sum(slept) >= 2.0, "two more than the burst"
    assert told.waited_ms == pytest.approx(sum(slept) * 1000, abs=5) and told.sent_bytes > 3 << 20
    assert two.call("bank", Role.OPERATOR, "qkd.status").bandwidth[0].bytes_per_s == 0, "each institution limits what leaves it"
    assert {one.line for one in told.lines} == {"a1"} and 3 << 20 < sum(one.sent_bytes for one in told.lines) <= told.sent_bytes


@pytest.mark.soak
def test_two_entities_of_their_own_give_the_keys_of_an_intersection_and_list_what_for() -> None:
    folder = Path(tempfile.mkdtemp(prefix="kme-"))
    saes = {"broker": ("sae-broker",), "bank": ("sae-bank",)}
    sites = make_sites(folder, [imported_plan(line="a1", sender="broker", receiver="bank")], now=datetime.now(UTC), saes=saes, quota=Quota(1000, 60_000, 0))
    supervise.start_kmes(folder, sites=())
    try:
        nodes = {one: ManagementClient(sites[one].address, Credentials.from_site(sites[one].folder, "node", kme=sites[one].kme)) for one in saes}
        data = make_key_file("a1", 64)
        for one in saes:
            inbox = sites[one].folder / "inbox" / "keys.wbki"
            inbox.write_bytes(data)
            inbox.chmod(0o600)
        until(lambda: nodes["broker"].line("a1").peer_reachable, what="the far end")
        nodes["broker"].recover("a1")
        until(lambda: all(one.line("a1").available and one.line("a1").in_step for one in nodes.values()), what="keys at both ends")
        with linked(folder) as two:
            ours, _ = two.run("broker", "bank", "wealth-marketing")
            used = {party: {one.values["key_id"] for one in two.entries(party, job=ours.job, kind="qkd.session_used")} for party in saes}
            assert used["broker"] == used["bank"] and len(used["bank"]) == 2
            sessions_of = {one.values["session"] for one in two.entries("bank", job=ours.job, kind="qkd.session_used")}
            for entity in nodes.values():
                for key_id in used["bank"]:
                    assert {one.reference for one in entity.leak_report(key_id).uses} <= sessions_of
                    assert entity.leak_report(key_id).uses
        for entity in nodes.values():
            entity.close()
    finally:
        supervise.stop_kmes(folder, sites=())
        shutil.rmtree(folder)
