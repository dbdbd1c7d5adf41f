"""Time stamps of a node: asked for when due, checked, kept, recorded; over HTTP and by files."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.altering import other_last_byte
from tests.anchor.authority import OTHER_POLICY, CertificateAuthority, Server, Signer, stamps
from tests.anchor.conftest import Anchored, Open
from workbench.errors import NotFound, PeerUnavailable, Refused, StartRefused, VerificationError, WorkbenchError
from workbench_anchor import http, stamping, tables
from workbench_anchor.stamping import WHAT, pause_ms


@pytest.fixture
def one(open_house: Open, server: Server, signer: Signer) -> Anchored:
    return open_house(pinned=signer.pinned, tsa_url=server.url, every_entries=3, every_minutes=10)


def newest(one: Anchored) -> tables.StampRow | None:
    with one.house.node.store.read() as reader:
        return tables.newest_stamp(reader)


def fails(one: Anchored, code: str) -> None:
    with pytest.raises(WorkbenchError) as error:
        one.service.round(WHAT)
    assert error.value.code == code


def test_a_note_is_stamped_when_enough_entries_came_and_openssl_verifies_it(
    one: Anchored, server: Server, signer: Signer, tmp_path: Path
) -> None:
    one.write(3)
    one.service.round(WHAT)
    row = newest(one)
    assert row is not None
    assert hashlib.sha256(row.note.encode()).digest() == row.digest
    assert one.house.entries("anchor.stamped")[0]["note_sha256"] == row.digest.hex()
    assert server.asked == [row.request]
    one.service.stamping.check(row)
    (tmp_path / "token.tsr").write_bytes(row.reply)
    (tmp_path / "note").write_text(row.note, encoding="utf-8")
    command = ["openssl", "ts", "-verify", "-in", str(tmp_path / "token.tsr"), "-data", str(tmp_path / "note")]
    command += ["-CAfile", "root.pem", "-untrusted", "signer.pem"]
    checked = subprocess.run(command, cwd=signer.folder, check=False, capture_output=True, text=True, timeout=60)
    assert "Verification: OK" in checked.stdout, checked.stderr
    (tmp_path / "note").write_text(row.note + " ", encoding="utf-8")
    assert subprocess.run(command, cwd=signer.folder, check=False, capture_output=True, timeout=60).returncode != 0


def test_nothing_is_asked_before_it_is_due_and_own_entries_make_nothing_due(one: Anchored, server: Server) -> None:
    one.write(3)
    one.service.round(WHAT)
    for _ in range(3):
        one.house.clock.forward(minutes=11)
        one.service.round(WHAT)
    assert len(server.asked) == 1
    one.write(2)
    one.house.clock.forward(minutes=-33)
    one.service.round(WHAT)
    assert len(server.asked) == 1
    one.house.clock.forward(minutes=11)
    # The stamp's time lies eleven minutes before this clock: nobody's time is taken on trust.
    fails(one, "TSA_TIME")
    assert len(server.asked) == 2


def test_a_stopped_authority_is_tried_again_later_and_recorded_once(
    one: Anchored, server: Server, signer: Signer
) -> None:
    one.write(3)
    server.answer = lambda request: (503, "text/plain", b"not now")
    for _ in range(3):
        fails(one, "TSA_DOWN")
        one.service.round(WHAT)  # rests
        one.house.clock.forward(minutes=0.2)
    assert len(server.asked) == 3
    assert one.kinds() == ["anchor.failed"]
    one.house.clock.forward(minutes=-0.6)
    server.answer = stamps(signer)
    one.house.clock.forward(minutes=1)
    one.service.round(WHAT)
    assert one.kinds() == ["anchor.failed", "anchor.stamped"]
    assert one.service.problems == {}
    assert len(set(server.asked)) == 1


def test_a_request_tried_in_vain_gives_way_to_a_newer_note(one: Anchored, server: Server, signer: Signer) -> None:
    one.write(3)
    server.answer = lambda request: (500, "text/plain", b"")
    fails(one, "TSA_DOWN")
    one.write(2)
    one.house.clock.forward(minutes=0.1)
    server.answer = stamps(signer)
    one.service.round(WHAT)
    row = newest(one)
    assert row is not None
    assert row.size > 3
    with one.house.node.store.read() as reader:
        assert [entry.state for entry in tables.last_stamps(reader, 9)] == ["stamped", "given_up"]


def test_what_an_authority_may_not_answer_is_refused_and_leaves_nothing(
    one: Anchored, server: Server, signer: Signer, authority: CertificateAuthority
) -> None:
    other = authority.signer(f"stranger-{time.time_ns()}")
    good = "application/timestamp-reply"
    one.write(3)
    cases = [
        (lambda request: (302, good, b""), "TSA_DOWN"),
        (lambda request: (200, "text/html", signer.reply(request)), "TSA_DOWN"),
        (lambda request: (200, good, b"x" * 70_000), "TSA_DOWN"),
        (lambda request: (200, good, b""), "TSA_TOKEN"),
        (lambda request: (200, good, other.reply(request)), "TSA_SIGNATURE"),
        (lambda request: (200, good, other_last_byte(signer.reply(request))), "TSA_SIGNATURE"),
    ]
    for answer, code in cases:
        server.answer = answer
        one.house.clock.forward(minutes=0.5)
        fails(one, code)
    assert newest(one) is None
    assert set(one.kinds()) == {"anchor.failed"}
    assert len(server.asked) == len(cases)  # the redirect was not followed


def test_a_slow_drip_ends_after_the_time_limit(open_house: Open, signer: Signer) -> None:
    """Each byte comes within the limit, also from a thread that a busy machine holds up; the whole never does."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nContent-Length: 60000\r\n\r\n"
                )
                while not done.wait(0.2):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        one = open_house(pinned=signer.pinned, tsa_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout_s=3)
        one.write()
        with pytest.raises(PeerUnavailable, match="not complete"):
            one.service.round(WHAT)
        done.set()
        thread.join(timeout=10)


def test_a_policy_that_is_asked_for_is_demanded(open_house: Open, server: Server, signer: Signer) -> None:
    one = open_house(pinned=signer.pinned, tsa_url=server.url, tsa_policy=OTHER_POLICY)
    one.write()
    one.service.round(WHAT, force=True)
    assert one.house.entries("anchor.stamped")[0]["policy"] == OTHER_POLICY


def test_without_a_pinned_certificate_nothing_is_sent(open_house: Open, server: Server) -> None:
    one = open_house(tsa_url=server.url)
    one.write()
    fails(one, "TSA_CERTIFICATE")
    assert server.asked == []
    assert {line.name: line.state for line in one.house.node.health()}["anchor.stamps"] == "warning"


def test_addresses_that_are_none_are_refused(open_house: Open, signer: Signer) -> None:
    odd = ("", "ftp://127.0.0.1/x", "file:///etc/passwd", "http://", "127.0.0.1:80", "http://a:b@127.0.0.1/")
    for url in odd:
        with pytest.raises(StartRefused):
            http.check_address(url, setting="anchor.tsa_url")
    for url in ("http://127.0.0.1:8080/tsa", "https://tsa.example/"):
        assert http.check_address(url, setting="anchor.tsa_url") == url
    one = open_house(pinned=signer.pinned, tsa_url=odd[1])
    one.write()
    fails(one, "WRONG_SETTING")


def test_the_pinned_file_must_lie_in_the_institution_s_folder(open_house: Open, server: Server) -> None:
    one = open_house(tsa_url=server.url, tsa_certificate="../../elsewhere.pem")
    one.write()
    fails(one, "INVALID_REQUEST")
    assert server.asked == []


# ------------------------------------------------------------------------------------------- by hand


def test_an_isolated_node_gets_its_stamp_by_files(open_house: Open, signer: Signer) -> None:
    one = open_house(pinned=signer.pinned)
    one.write(2)
    asked = one.service.stamping.request_file(actor="P-1")
    again = one.service.stamping.request_file(actor="P-1")
    assert asked.request != again.request
    done = one.service.stamping.accept_file(signer.reply(asked.request), actor="P-1")
    assert (done.number, done.state) == (asked.number, "stamped")
    assert one.kinds() == ["anchor.ordered", "anchor.ordered", "anchor.stamped"]
    one.service.stamping.check(done)


def test_a_reply_to_nobody_s_request_is_refused(
    open_house: Open, signer: Signer, authority: CertificateAuthority
) -> None:
    one = open_house(pinned=signer.pinned)
    with pytest.raises(Refused, match="TSA_NO_REQUEST"):
        one.service.stamping.accept_file(b"", actor="P-1")
    one.write()
    asked = one.service.stamping.request_file(actor="P-1")
    first = signer.reply(asked.request)
    one.service.stamping.accept_file(first, actor="P-1")
    one.write()
    waiting = one.service.stamping.request_file(actor="P-1")
    with pytest.raises(VerificationError) as replayed:
        one.service.stamping.accept_file(first, actor="P-1")
    assert replayed.value.code == "TSA_IMPRINT"
    stranger = authority.signer(f"stranger-{time.time_ns()}")
    with pytest.raises(VerificationError) as foreign:
        one.service.stamping.accept_file(stranger.reply(waiting.request), actor="P-1")
    assert foreign.value.code == "TSA_SIGNATURE"


def test_only_so_many_request_files_wait(
    open_house: Open, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stamping, "WAITING_FILES", 3)
    one = open_house(pinned=signer.pinned)
    one.write()
    asked = [one.service.stamping.request_file(actor="P-1") for _ in range(stamping.WAITING_FILES + 2)]
    with one.house.node.store.read() as reader:
        assert [row.number for row in tables.waiting_stamps(reader, "file")] == [row.number for row in asked[2:]]
    with pytest.raises(VerificationError):
        one.service.stamping.accept_file(signer.reply(asked[0].request), actor="P-1")
    one.service.stamping.accept_file(signer.reply(asked[2].request), actor="P-1")


def test_a_stamped_log_has_nothing_to_ask_for(open_house: Open, signer: Signer) -> None:
    one = open_house(pinned=signer.pinned)
    one.write()
    one.service.stamping.accept_file(signer.reply(one.service.stamping.request_file(actor="P-1").request), actor="P-1")
    with pytest.raises(NotFound):
        one.service.stamping.request_file(actor="P-1")


def test_pauses_double_up_to_five_minutes() -> None:
    assert [pause_ms(tries) for tries in (0, 1, 2, 8, 9, 60)] == [1000, 2000, 4000, 256_000, 300_000, 300_000]
