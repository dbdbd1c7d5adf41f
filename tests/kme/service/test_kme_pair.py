"""Two KMEs as processes: the standard over mutual TLS, one-time use at both ends, bad callers, copies put back."""

from __future__ import annotations

import http.client
import json
import secrets
import shutil
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kme_callers import raw, request, third_party, trunk, trunk_task
from kme_pair import LINE, RECEIVER, SENDER, Pair, imported_plan, until
from workbench_kme.keys.medium import open_medium
from workbench_kme.service.config import KME_URI, NODE_URI, SAE_URI, parse_secrets
from workbench_kme.service.sites import issue_client, make_sites
from workbench_kme.service.tls import client_context
from workbench_kme.service.views import ChargeDelivery

from workbench.crypto import canonical, certificates
from workbench.errors import InvalidRequest, KeyUnavailable, NotFound, PeerError, Refused

BAD_FILLINGS: tuple[dict[str, Any], ...] = (
    {"count": 0}, {"count": 4097}, {"count": True}, {"low_water": -1}, {"after": -1}, {"passphrase": "eleven char"}, {"passphrase": "x" * 257}, {"line": "nowhere"},
    {"person": ""}, {"device": "a/b"},
)  # fmt: skip
NOT_FOUND = "one or more keys specified are not found on KME"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Pair.make(tmp_path_factory.mktemp("pair") / "sites", imported_plan())
    try:
        made.start()
        made.await_step()
        made.bring_file(4000)
        yield made
    finally:
        made.close()


# ------------------------------------------------------------------------------------- independent clients


def test_the_independent_client_gets_status_and_the_same_keys_at_both_ends_and_none_twice(pair: Pair) -> None:
    master, slave = third_party(pair, SENDER, "sae-broker"), third_party(pair, RECEIVER, "sae-sandbox")
    code, status = master.get_status("sae-sandbox")
    assert (code, status.source_kme_id, status.target_kme_id) == (200, "kme-broker", "kme-provider")
    assert (status.master_sae_id, status.slave_sae_id, status.key_size) == ("sae-broker", "sae-sandbox", 256)
    code, given = master.get_key("sae-sandbox", number=3, size=128)
    assert code == 200 and len(given.keys) == 3
    ids = [one.key_id for one in given.keys]
    code, fetched = slave.get_key_with_key_IDs("sae-broker", ids)
    assert code == 200
    assert {one.key_id: one.key for one in fetched.keys} == {one.key_id: one.key for one in given.keys}
    code, replay = slave.get_key_with_key_IDs("sae-broker", ids)
    assert (code, replay.message) == (400, NOT_FOUND)
    code, denied = third_party(pair, RECEIVER, "sae-backup").get_key_with_key_IDs("sae-broker", ids[:1])
    assert code in (400, 401) and denied.message


@pytest.mark.parametrize(
    ("phases", "examples"), [("fuzzing", 10), pytest.param("coverage,fuzzing", 60, marks=pytest.mark.soak)]
)
def test_schemathesis_finds_no_answer_that_differs_from_the_description(
    pair: Pair, tmp_path: Path, phases: str, examples: int
) -> None:
    if examples > 10:
        pair.bring_file(40_000, "many.wbki")  # 503 is in order when keys run out, and is not what is looked for here
    site = pair.sites[SENDER]
    described = json.loads(raw(pair, "sae-broker", "GET", "/openapi.json")[2])
    # Any other SAE id must be refused, however well it is spelt.
    for name, known in (("slave", "sae-sandbox"), ("master", "sae-backup")):
        described["components"]["parameters"][name]["schema"] = {"type": "string", "enum": [known]}
    (tmp_path / "openapi.json").write_text(json.dumps(described))
    done = subprocess.run(
        [
            Path(sys.executable).parent / "schemathesis", "run", tmp_path / "openapi.json", "--url", f"https://{site.address}",
            "--request-cert", site.folder / "clients/sae-broker.pem", "--request-cert-key", site.folder / "clients/sae-broker.key",
            "--tls-verify", site.folder / "authority.pem", "--exclude-checks", "positive_data_acceptance",
            "-n", str(examples), "--phases", phases, "--seed", "14", "--warnings", "off", "--no-color",
        ],
        capture_output=True, text=True, timeout=280, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]


# ----------------------------------------------------------------------------------- who may, who may not

ENC = "/api/v1/keys/sae-sandbox/enc_keys"


def test_every_field_with_a_wrong_value_is_400_with_its_name_over_the_wire(pair: Pair) -> None:
    before = pair.node(SENDER).line(LINE).available
    wrong: list[tuple[str, Any]] = [
        ("number", 0), ("number", "1"), ("number", True), ("size", 512), ("size", 8), ("size", None), ("additional_slave_SAE_IDs", "x"),
        ("additional_slave_SAE_IDs", ["sae-sandbox"]), ("additional_slave_SAE_IDs", ["nobody"]), ("extension_mandatory", {}),
        ("extension_optional", [1]), ("unheard-of", 1),
    ]  # fmt: skip
    for name, value in wrong:
        status, _headers, body = raw(pair, "sae-broker", "POST", ENC, json.dumps({name: value}).encode(), {"Content-Type": "application/json"})
        told = json.loads(body)
        assert (status, told["details"][0]["parameter"]) == (400, name), told
    for query in ("?number=0", "?size=12x", "?key=1", "?number=1&number=1"):
        assert raw(pair, "sae-broker", "GET", ENC + query)[0] == 400
    for body in (b"{", b"[]", b"\xff", b"{" + b" " * 70_000 + b"}"):
        assert raw(pair, "sae-broker", "POST", ENC, body, {"Content-Type": "application/json"})[0] == 400
    assert raw(pair, "sae-broker", "POST", ENC, b"{}", {"Content-Type": "text/plain"})[0] == 400
    assert pair.node(SENDER).line(LINE).available == before


def test_unknown_saes_and_keys_are_400_and_never_404(pair: Pair) -> None:
    assert raw(pair, "sae-broker", "GET", "/api/v1/keys/nobody/status")[0] == 400
    assert raw(pair, "sae-broker", "GET", "/api/v1/keys/sae-desk/status")[0] == 400  # of this very site
    unknown = "6960b6a7-35ce-4301-9ac5-b073aa8cb494"
    status, _headers, body = raw(pair, "sae-sandbox", "GET", f"/api/v1/keys/sae-broker/dec_keys?key_ID={unknown}", site=RECEIVER)
    assert (status, json.loads(body)["message"]) == (400, NOT_FOUND)


def test_other_methods_are_405_with_allow_and_other_paths_404(pair: Pair) -> None:
    for path, allowed in (("sae-sandbox/status", "GET"), ("sae-sandbox/enc_keys", "GET, POST"), ("sae-sandbox/dec_keys", "GET, POST")):
        for method in ("DELETE", "PUT", "PATCH"):
            status, headers, _body = raw(pair, "sae-broker", method, f"/api/v1/keys/{path}")
            assert (status, headers["allow"]) == (405, allowed)
    assert raw(pair, "sae-broker", "GET", "/api/v1/keys/sae-sandbox")[0] == 404


def test_only_saes_that_were_named_get_a_key_each_of_them_once(pair: Pair) -> None:
    key = pair.sae("sae-broker").get_keys("sae-sandbox", additional_slaves=["sae-backup"])[0]
    for stranger in ("sae-broker", "sae-desk"):
        with pytest.raises(Refused, match="SAE_NOT_NAMED"):
            pair.sae(stranger).get_keys_by_id("sae-broker", [key.key_id])
    other = pair.sae("sae-broker").get_keys("sae-sandbox")[0]
    with pytest.raises(Refused, match="SAE_NOT_NAMED"):
        pair.sae("sae-backup").get_keys_by_id("sae-broker", [other.key_id])
    with pytest.raises(InvalidRequest, match=NOT_FOUND):  # the right slave, another master
        pair.sae("sae-sandbox").get_keys_by_id("sae-desk", [other.key_id])
    assert pair.sae("sae-sandbox").get_keys_by_id("sae-broker", [other.key_id])[0].value == other.value
    for slave in ("sae-backup", "sae-sandbox"):
        assert pair.sae(slave).get_keys_by_id("sae-broker", [key.key_id])[0].value == key.value
        with pytest.raises(InvalidRequest, match=NOT_FOUND):
            pair.sae(slave).get_keys_by_id("sae-broker", [key.key_id])


def test_masters_at_both_ends_draw_from_pools_of_their_own(pair: Pair) -> None:
    for master, slave in (("sae-desk", "sae-backup"), ("sae-backup", "sae-desk")):
        keys = pair.sae(master).get_keys(slave, number=2)
        assert [one.value for one in pair.sae(slave).get_keys_by_id(master, [one.key_id for one in keys])] == [one.value for one in keys]
        parity = {pair.node(SENDER).key(one.key_id).index % 2 for one in keys}
        assert parity == ({0} if master == "sae-desk" else {1})


def test_a_list_with_one_unknown_key_delivers_none_of_them(pair: Pair) -> None:
    keys = pair.sae("sae-broker").get_keys("sae-sandbox", number=2)
    ids = [one.key_id for one in keys]
    with pytest.raises(InvalidRequest, match=NOT_FOUND):
        pair.sae("sae-sandbox").get_keys_by_id("sae-broker", [*ids, "6960b6a7-35ce-4301-9ac5-b073aa8cb494"])
    assert [one.value for one in pair.sae("sae-sandbox").get_keys_by_id("sae-broker", ids)] == [one.value for one in keys]


def test_an_origin_is_stated_with_every_key_and_another_one_can_be_demanded_in_vain(pair: Pair) -> None:
    key = pair.sae("sae-broker").get_keys("sae-sandbox", origins=["imported"])[0]
    assert key.provenance == "imported" and key.extension["workbench_provenance"]["quantum"] is False
    with pytest.raises(InvalidRequest, match="not all extension_mandatory request options could be met"):
        pair.sae("sae-broker").get_keys("sae-sandbox", origins=["device-014"])


@pytest.mark.parametrize("said", [{}, {"workbench_provenance": {"v": 1, "origin": "device-014", "quantum": True}}])
def test_a_line_takes_the_keys_of_a_device_that_says_nothing_of_them_or_calls_them_its_own(
    pair: Pair, tmp_path: Path, said: dict[str, Any]
) -> None:
    sender, receiver = trunk(pair, tmp_path, said)
    assert sender.pulses() == 0
    taking, fetching = sender.machine(trunk_task(1)), receiver.machine(trunk_task(1))
    to_receiver = [*taking.begin()]
    while to_receiver:
        to_sender = [reply for one in to_receiver for reply in fetching.receive(one)]
        to_receiver = [reply for one in to_sender for reply in taking.receive(one)]
    assert taking.result is not None and fetching.result is not None
    assert taking.result.key == fetching.result.key and len(taking.result.key) == 5 * 32 and taking.result.qber == -1
    # A check over other keys is refused at both ends, and so is an id that the device does not know.
    again, other = sender.machine(trunk_task(2)), receiver.machine(trunk_task(2))
    named = again.begin()[0]
    (checked,) = other.receive(named)
    altered = checked.replace(b'"check":"' + checked[10:12], b'"check":"' + (b"00" if checked[10:12] != b"00" else b"11"))
    assert altered != checked
    (verdict,) = again.receive(altered)
    other.receive(verdict)
    assert [one.result.aborted for one in (again, other) if one.result] == ["verification-failed"] * 2
    unknown = receiver.machine(trunk_task(3))
    unknown.receive(b'{"key_IDs":["6960b6a7-35ce-4301-9ac5-b073aa8cb494"],"kind":"device-keys","v":1}')
    assert unknown.result is not None and unknown.result.aborted == "message-refused" and unknown.result.key == b""
    sender.close()
    receiver.close()


def test_keys_that_their_kme_does_not_call_a_devices_never_become_quantum_keys_at_either_end(
    pair: Pair, tmp_path: Path
) -> None:
    """A line of KMEs of our own, which say `imported` and `quantum: false`, behind the source `device-014`."""
    sender, receiver = trunk(pair, tmp_path)
    taking = sender.machine(trunk_task(1))
    assert taking.begin() == []
    assert taking.result is not None and (taking.result.aborted, taking.result.key) == ("message-refused", b"")
    # A sender's end that would not look: the receiver's end looks for itself, and its check agrees to nothing.
    keys = pair.sae("sae-desk").get_keys("sae-backup", number=5)
    fetching = receiver.machine(trunk_task(2))
    named = canonical.format({"v": 1, "kind": "device-keys", "key_IDs": [one.key_id for one in keys]})
    assert fetching.receive(named) == [b'{"check":"","kind":"device-check","v":1}']
    assert fetching.result is not None and (fetching.result.aborted, fetching.result.key) == ("message-refused", b"")
    sender.close()
    receiver.close()


def test_identities_come_from_certificates_and_headers_say_nothing(pair: Pair, tmp_path: Path) -> None:
    claims = {"X-SAE-ID": "sae-broker", "X-Forwarded-For": "10.0.0.1", "SSL-Client-S-DN": "CN=sae-broker", "Content-Type": "application/json"}
    folder = pair.sites[SENDER].folder
    issue_client(folder, "sae-unlisted", SAE_URI + "sae-unlisted", now=datetime.now(UTC))
    issue_client(folder, "second-node", NODE_URI + SENDER, now=datetime.now(UTC))
    for name in ("sae-unlisted", "node"):
        status, _headers, body = raw(pair, name, "POST", ENC, b"{}", claims)
        assert status == 401 and json.loads(body)["message"]
    for name in ("sae-broker", "sae-unlisted", "second-node"):  # the second one has the node's name and not its certificate
        assert raw(pair, name, "GET", "/management/v1/status", headers=claims)[0] == 401
    assert raw(pair, "node", "GET", "/management/v1/status")[0] == 200


def test_certificates_of_other_authorities_do_not_get_past_the_handshake(pair: Pair) -> None:
    foreign = certificates.make_authority("foreign", now=datetime.now(UTC))
    forged = certificates.issue_certificate(foreign, name="x", uri=SAE_URI + "sae-broker", now=datetime.now(UTC))
    known = pair.credentials(SENDER, "sae-broker")
    other_site = pair.credentials(RECEIVER, "sae-sandbox")
    for certificate, key in ((forged.certificate_pem, forged.private_key_pem), (other_site.certificate, other_site.private_key)):
        with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
            request(pair.sites[SENDER].address, client_context(certificate, key, known.authority, kme=known.kme), "/api/v1/keys/sae-sandbox/status")
    with pytest.raises(ssl.SSLCertVerificationError):  # and a client does not talk to another KME than the one it means
        request(pair.sites[SENDER].address, client_context(known.certificate, known.private_key, known.authority, kme="kme-other"), "/")


def test_the_link_between_kmes_takes_the_pinned_peer_and_nobody_else(pair: Pair) -> None:
    """A second certificate with the peer's id, issued by the peer's own authority, is still not the peer."""
    site, peer = pair.sites[SENDER], pair.sites[RECEIVER]
    twin = issue_client(peer.folder, "twin", KME_URI + peer.kme, now=datetime.now(UTC))
    context = client_context(twin.certificate_pem, twin.private_key_pem, (site.folder / "authority.pem").read_bytes(), kme=site.kme)
    hello = b'{"boot":"0000000000000000","delivered":[],"state":"in-step","v":1}'
    assert request(site.link_address, context, f"/link/v1/{LINE}/hello", hello)[0] == 401
    own = pair.credentials(SENDER, "sae-broker")
    with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
        request(site.link_address, client_context(own.certificate, own.private_key, own.authority, kme=site.kme), "/link/v1/x/hello", b"{}")


def test_a_stranger_on_the_link_is_refused_before_a_byte_of_its_body_and_the_peer_beyond_its_limit(pair: Pair) -> None:
    """Only a header is sent, naming a body of 100 MiB that never comes: the answer is there all the same."""
    site, peer = pair.sites[SENDER], pair.sites[RECEIVER]
    authority = (site.folder / "authority.pem").read_bytes()
    stranger = pair.credentials(RECEIVER, "sae-sandbox")
    known = parse_secrets((peer.folder / "secrets.json").read_bytes(), "")
    own = (peer.folder / "kme.pem").read_bytes(), known.tls_key
    for certificate, key, verb, size, expected in (
        (stranger.certificate, stranger.private_key, "hello", 100 << 20, (401, "NOT_THE_PEER")),
        (*own, "hello", (64 << 10) + 1, (409, "TOO_LARGE")),
        (*own, "reserve", 100 << 20, (409, "TOO_LARGE")),
        (*own, "messages", 100 << 20, (409, "TOO_LARGE")),
    ):
        host, port = site.link_address.split(":")
        connection = http.client.HTTPSConnection(
            host, int(port), context=client_context(certificate, key, authority, kme=site.kme), timeout=60
        )
        connection.putrequest("POST", f"/link/v1/{LINE}/{verb}")
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        reply = connection.getresponse()
        assert (reply.status, json.loads(reply.read())["code"]) == expected
        assert reply.will_close
        connection.close()


WELL_FORMED: dict[str, dict[str, Any]] = {
    "hello": {"v": 1, "boot": "00" * 8, "state": "in-step", "delivered": []},
    "reserve": {"master": "sae-sandbox", "slaves": ["sae-broker"], "size": 256, "keys": ["6960b6a7-35ce-4301-9ac5-b073aa8cb494"]},
    "withdraw": {"what": "revoke", "keys": ["6960b6a7-35ce-4301-9ac5-b073aa8cb494"], "block": -1, "reason": "x"},
    "begin": {"block": 10**6, "source": "imported", "nonce": "00" * 16, "pulses": 0, "eavesdropper": {"kind": "", "fraction_ppm": 0}},
    "messages": {"block": 10**6, "messages": []},
    "finish": {"block": 10**6, "check": ""},
    "sync": {"state": ""},
    "bitmap": {"block": 0, "bitmap": ""},
}  # fmt: skip


def test_the_true_peer_gains_nothing_by_malformed_calls_nor_by_the_senders_verbs(pair: Pair) -> None:
    """Every member missing or of another type, every verb, from the pinned certificate itself."""
    site, peer = pair.sites[SENDER], pair.sites[RECEIVER]
    secrets = parse_secrets((peer.folder / "secrets.json").read_bytes(), "")
    context = client_context((peer.folder / "kme.pem").read_bytes(), secrets.tls_key, (site.folder / "authority.pem").read_bytes(), kme=site.kme)
    host, port = site.link_address.split(":")
    connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=60)

    def call(verb: str, body: bytes) -> int:
        connection.request("POST", f"/link/v1/{LINE}/{verb}", body=body)
        reply = connection.getresponse()
        reply.read()
        return reply.status

    before = pair.node(SENDER).line(LINE).available
    for verb, good in WELL_FORMED.items():
        for wrong in (b"", b"{}", b"[]", b"\xff", canonical.format({**good, "more": 1}), b" " + canonical.format(good)):
            assert call(verb, wrong) == 409, (verb, wrong)
        for name in good:
            for value in (None, True, [None], {"x": 1}):
                assert call(verb, canonical.format({**good, name: value})) == 409, (verb, name, value)
    assert call("unheard", b"{}") == 404
    connection.close()
    pair.await_step()
    assert pair.node(SENDER).line(LINE).available == before


def test_many_callers_at_both_ends_get_different_keys_that_all_arrive(pair: Pair) -> None:
    def round_trip(turn: int) -> list[str]:
        master, slave = (("sae-broker", "sae-sandbox"), ("sae-sandbox", "sae-broker"))[turn % 2]
        keys = pair.sae(master).get_keys(slave, number=2)
        fetched = pair.sae(slave).get_keys_by_id(master, [one.key_id for one in keys])
        assert [one.value for one in fetched] == [one.value for one in keys]
        return [one.key_id for one in keys]

    with ThreadPoolExecutor(8) as threads:
        ids = [key for keys in threads.map(round_trip, range(40)) for key in keys]
    assert len(ids) == len(set(ids)) == 80
    with pytest.raises(InvalidRequest, match=NOT_FOUND):
        pair.sae("sae-sandbox").get_keys_by_id("sae-broker", ids[:1])


def test_an_answer_leaves_in_one_write(pair: Pair) -> None:
    """One write is one TLS record: header and body arrive together, and no delayed acknowledgement lies between them."""
    known = pair.credentials(SENDER, "sae-broker")
    host, port = pair.sites[SENDER].address.split(":")
    connection = http.client.HTTPSConnection(
        host, int(port), context=client_context(known.certificate, known.private_key, known.authority, kme=known.kme), timeout=60
    )
    connection.connect()
    for _ in range(3):
        connection.sock.sendall(f"GET /api/v1/keys/sae-sandbox/status HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        record = connection.sock.recv(65536)
        head, _, body = record.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200") and json.loads(body)["key_size"] == 256
    connection.close()


# -------------------------------------------------------------------------------------------- management


def test_the_node_sees_lines_events_forecast_and_what_a_key_protected(pair: Pair) -> None:
    node = pair.node(SENDER)
    overview = node.overview()
    assert (overview.kme, overview.lines, overview.device_enabled, overview.self_test_passed) == ("kme-broker", [LINE], True, True)
    key = pair.sae("sae-broker").get_keys("sae-sandbox")[0]
    assert node.key(key.key_id).state == "RESERVED"
    pair.sae("sae-sandbox").get_keys_by_id("sae-broker", [key.key_id])
    until(lambda: node.key(key.key_id).state == "DELIVERED", what="the sender's end hears of the delivery")
    assert node.consume([key.key_id], sae="sae-broker", purpose="session", reference="session:s-17") == 1
    node.record_use(key.key_id, purpose="frame", reference="frame:f-18")
    report = node.leak_report(key.key_id)
    assert [one.reference for one in report.uses] == ["session:s-17", "frame:f-18"] and report.provenance == "imported"
    assert node.forecast(LINE).available == node.line(LINE).available
    kinds = {one.kind for one in node.events(limit=1000)}
    assert {"block.stored", "key.reserved", "key.handed-out", "key.consumed"} <= kinds
    assert key.value.hex() not in json.dumps([one.facts for one in node.events(limit=1000)])
    with pytest.raises(NotFound):
        node.key("6960b6a7-35ce-4301-9ac5-b073aa8cb494")


def test_revoked_keys_are_gone_at_both_ends(pair: Pair) -> None:
    keys = pair.sae("sae-broker").get_keys("sae-sandbox", number=2)
    assert pair.node(SENDER).revoke(LINE, key_ids=[keys[0].key_id], reason="person left") == 1
    until(lambda: pair.node(RECEIVER).key(keys[0].key_id).state == "REVOKED", what="revoked at the other end")
    with pytest.raises(InvalidRequest, match=NOT_FOUND):
        pair.sae("sae-sandbox").get_keys_by_id("sae-broker", [keys[0].key_id])
    assert pair.sae("sae-sandbox").get_keys_by_id("sae-broker", [keys[1].key_id])[0].value == keys[1].value


def test_switches_are_kept_recorded_and_refused_where_they_do_not_belong(pair: Pair) -> None:
    node = pair.node(SENDER)
    assert node.set_policy(LINE, "qkd-required", act="evidence:42").policy == "qkd-required"
    assert node.set_policy(LINE, "hybrid-required", act="evidence:43").policy == "hybrid-required"
    assert [one.facts["after"] for one in node.events(limit=1000) if one.kind == "line.policy"][-2:] == ["qkd-required", "hybrid-required"]
    assert node.pause(LINE).state == "paused" and node.resume(LINE).state != "paused"
    with pytest.raises(Refused, match="NOT_A_DEMONSTRATION"):
        node.eavesdrop(LINE, "intercept-resend", 0.2)
    with pytest.raises(InvalidRequest):
        node.set_policy(LINE, "none", act="x")
    assert node.sync(LINE).in_step
    tested = node.self_test()
    assert tested.passed and len(tested.tests) > 5 and node.last_self_test() == tested


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("keys/revoke", {}), ("keys/revoke", {"line": LINE, "key_ids": [], "reason": "x"}), ("keys/revoke", {"line": LINE, "key_ids": ["x"], "reason": "x"}),
        ("keys/revoke", {"line": LINE, "block": -1, "reason": "x"}), ("keys/quarantine", {"line": LINE, "block": 1, "reason": ""}),
        ("keys/consume", {"key_ids": [], "sae": "sae-broker", "purpose": "p", "reference": "r"}), (f"lines/{LINE}/pause", {"x": 1}),
        (f"lines/{LINE}/policy", {"policy": "qkd-required"}), (f"lines/{LINE}/rekey", {"reason": 7}), ("charges/fill", {"person": 1, "device": "d", "line": LINE, "count": 1}),
        *(("charges/fill", {"person": "p", "device": "d", "line": LINE, "count": 1, "low_water": 1, "after": 0, "passphrase": "long enough one"} | bad) for bad in BAD_FILLINGS),
        ("charges/deliver", {"person": "p", "device": "d", "line": LINE, "sae": "sae-broker", "origins": []}),
        ("charges/deliver", {"person": "p", "device": "d", "line": LINE, "sae": "sae-broker", "slave": "sae-sandbox"}),
        ("charges/deliver", {"person": "p", "device": "d", "line": LINE, "sae": "sae-broker", "slave": "sae-sandbox", "origins": ["quantum"]}),
        ("charges/deliver", {"person": "p", "device": "d", "line": LINE, "sae": "sae-sandbox", "slave": "sae-sandbox", "origins": []}),
        ("charges/revoke", {"person": "", "device": "", "reason": "x"}), ("charges/end", {"session_key_id": "x"}),
        ("simulate", {"preset": "metro-10", "pulses": 0, "kind": "intercept-resend", "fraction": 0, "seed": ""}), ("selftest", {"x": 1}),
    ],
)  # fmt: skip
def test_a_malformed_switch_is_refused_and_changes_nothing(pair: Pair, path: str, body: dict[str, Any]) -> None:
    before = pair.node(SENDER).line(LINE).available
    status, _headers, told = raw(pair, "node", "POST", f"/management/v1/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    assert status in (400, 404), told
    assert {"code", "zh", "en"} <= set(json.loads(told))
    assert pair.node(SENDER).line(LINE).available == before


PASSPHRASE = "correct horse battery"


def test_a_medium_gets_a_key_of_the_line_that_the_far_application_fetches_by_its_id(pair: Pair) -> None:
    """From the filled file to the same key at a person's device and at the other site; then the person is revoked."""
    node, person = pair.node(SENDER), f"P-{secrets.token_hex(6)}"  # of this try alone: what is revoked stays so
    filling = node.fill_charges(person=person, device="card-1", line=LINE, count=2, low_water=1, after=0, passphrase=PASSPHRASE)
    assert (filling.pool.count, filling.pool.last_counter, filling.first, filling.replaced) == (2, 2, 1, 0)
    with pytest.raises(Refused, match="CHARGE_MOVED"):
        node.fill_charges(person=person, device="card-1", line=LINE, count=2, low_water=1, after=0, passphrase=PASSPHRASE)
    _line, medium = open_medium(filling.medium.encode(), PASSPHRASE)

    def deliver(device: str = "card-1", sae: str = "sae-broker") -> ChargeDelivery:
        return node.deliver_under_charge(person=person, device=device, line=LINE, sae=sae, slave="sae-sandbox")

    before = node.line(LINE).available
    with pytest.raises(Refused, match="ORIGIN_UNMET"):
        node.deliver_under_charge(person=person, device="card-1", line=LINE, sae="sae-broker", slave="sae-sandbox", origins=["device-014"])
    with pytest.raises(NotFound, match="NO_CHARGE_POOL"):
        deliver("card-2")
    with pytest.raises(NotFound, match="SAE_UNKNOWN"):
        deliver(sae="sae-sandbox")
    assert node.line(LINE).available == before, "without a charge key no key of the line is taken"
    first, second = deliver(), deliver()
    assert (first.counter, second.counter, second.ended, second.left, second.low) == (1, 2, [first.session_key_id], 0, True)
    session, provenance, value = medium.open_delivery(bytes.fromhex(second.sealed))
    (far,) = pair.sae("sae-sandbox").get_keys_by_id("sae-broker", [str(session)])
    assert (far.value, str(provenance), far.key_id) == (bytes(value), second.provenance, second.session_key_id)
    assert [(one.purpose, one.reference) for one in node.leak_report(second.session_key_id).uses] == [("charge", second.charge_key_id)]
    with pytest.raises(KeyUnavailable, match="CHARGE_EXHAUSTED"):
        deliver()
    done = node.revoke_charges(person=person, reason="left")
    assert (done.revoked, done.pools, done.sessions) == (0, 1, [second.session_key_id])
    again = node.revoke_charges(person=person, reason="left")
    assert (again.revoked, again.pools, again.sessions) == (0, 0, [])
    with pytest.raises(KeyUnavailable, match="CHARGE_REVOKED"):
        deliver()
    with pytest.raises(Refused, match="CHARGE_REVOKED"):
        node.fill_charges(person=person, device="card-1", line=LINE, count=2, low_water=1, after=2, passphrase=PASSPHRASE)


# ------------------------------------------------------------------------------- late: these stop and drain


def test_a_file_of_keys_is_imported_once(pair: Pair) -> None:
    inbox = pair.sites[SENDER].folder / "inbox"
    assert list(inbox.iterdir()) == []
    with pytest.raises(Refused, match="NO_SUCH_FILE"):
        pair.node(SENDER).import_file(LINE, "keys.wbki")


def test_a_lost_peer_stops_delivery_and_one_that_comes_back_ends_the_alarm(pair: Pair) -> None:
    pair.kill(RECEIVER)
    until(lambda: pair.node(SENDER).line(LINE).state == "peer-unreachable", what="the loss is noticed")
    with pytest.raises(KeyUnavailable, match="PEER_UNREACHABLE") as caught:
        pair.sae("sae-broker").get_keys("sae-sandbox")
    assert int(caught.value.details["retry_after_s"]) > 0
    until(lambda: "peer-unreachable" in {one.kind for one in pair.node(SENDER).alarms(open_only=True)}, what="the alarm")
    pair.start(RECEIVER)
    pair.await_step()
    key = pair.sae("sae-broker").get_keys("sae-sandbox")[0]
    assert pair.sae("sae-sandbox").get_keys_by_id("sae-broker", [key.key_id])[0].value == key.value
    until(lambda: "peer-unreachable" not in {one.kind for one in pair.node(SENDER).alarms(open_only=True)}, what="the alarm ends")


def test_a_database_put_back_from_a_backup_gives_no_used_key_again(pair: Pair, tmp_path: Path) -> None:
    folder = pair.sites[SENDER].folder
    with sqlite3.connect(folder / "kme.sqlite") as database, sqlite3.connect(tmp_path / "kme.sqlite") as copy:
        database.backup(copy)
    shutil.copyfile(folder / "kme.mark", tmp_path / "kme.mark")
    used: set[str] = set()
    for _ in range(3):  # beyond what the mark had written ahead: a copy from before a crash would look the same
        used |= {one.key_id for one in pair.sae("sae-broker").get_keys("sae-sandbox", number=128)}
    pair.stop(SENDER)
    for name in ("kme.sqlite", "kme.mark"):  # the mark as well: only the other end can tell now
        shutil.copyfile(tmp_path / name, folder / name)
    for name in ("kme.sqlite-wal", "kme.sqlite-shm"):
        (folder / name).unlink(missing_ok=True)
    pair.start(SENDER)
    pair.await_step()
    again = {one.key_id for one in pair.sae("sae-broker").get_keys("sae-sandbox", number=100)}
    assert not used & again
    assert "restored-copy" in {one.kind for one in pair.node(SENDER).alarms(open_only=True)}


def test_an_exhausted_line_answers_503_and_says_when_to_come_back(pair: Pair) -> None:
    node = pair.node(SENDER)
    assert node.rekey(LINE, reason="end of the exercise") > 0
    with pytest.raises(KeyUnavailable, match="EXHAUSTED") as caught:
        pair.sae("sae-broker").get_keys("sae-sandbox")
    assert caught.value.details["stored_key_count"] == "0" and int(caught.value.details["retry_after_s"]) > 0
    status, headers, body = raw(pair, "sae-broker", "GET", ENC)
    assert status == 503 and int(headers["retry-after"]) > 0 and json.loads(body)["message"] == "not enough keys in stock"
    until(lambda: pair.node(RECEIVER).line(LINE).available == 0, what="revoked at the other end")
    until(lambda: "low-stock" in {one.kind for one in node.alarms(open_only=True)}, what="the alarm")


def test_a_wrong_passphrase_does_not_start_the_kme(tmp_path: Path) -> None:
    from workbench_kme.service import supervise

    from workbench.errors import StartRefused

    make_sites(tmp_path / "sites", [imported_plan()], now=datetime.now(UTC), passphrases={SENDER: "right"})
    with pytest.raises(StartRefused, match="KEY_LOCKED"):
        supervise.start_kmes(tmp_path / "sites", sites=[SENDER], passphrases={SENDER: "wrong"})
    assert supervise.running_kmes(tmp_path / "sites") == {}


def test_no_error_class_of_the_client_hides_a_refusal(pair: Pair) -> None:
    """PeerError is for KMEs that break the standard; refusals of ours never come as one."""
    with pytest.raises(InvalidRequest) as caught:
        pair.sae("sae-broker").status("nobody")
    assert not isinstance(caught.value, PeerError)
