"""Link encryption besides source encryption: one group, one suite, one certificate, or no link at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from OpenSSL import SSL

from session_world import NOW, sessions
from workbench.channel import tls_groups
from workbench.channel.tls_groups import (
    AES_256_GCM_SHA384,
    SM2_MLKEM768,
    SM4_GCM_SM3,
    X25519_MLKEM768,
    LinkEnd,
    LinkSettings,
    NegotiatedLink,
)
from workbench.crypto import certificates
from workbench.errors import KeyUnavailable, PeerError

SECRET = "客户的问题：这只基金风险多大？".encode() * 4
ISSUED = datetime.now(UTC)


def issue(party: str) -> tuple[certificates.KeyAndCertificate, bytes, str]:
    authority = certificates.make_authority(party, now=ISSUED)
    node = certificates.issue_node_certificate(authority, party=party, hosts=["127.0.0.1"], now=ISSUED)
    return node, authority.certificate_pem, certificates.describe(node.certificate_pem).fingerprint


BROKER, BANK, STRANGER = issue("broker"), issue("bank"), issue("stranger")


def settings_of(
    own: tuple[certificates.KeyAndCertificate, bytes, str],
    peer: tuple[certificates.KeyAndCertificate, bytes, str],
    **changes: object,
) -> LinkSettings:
    made = LinkSettings(own[0].certificate_pem, own[0].private_key_pem, (peer[1],), peer[2])
    return replace(made, **changes)  # type: ignore[arg-type]  # test shorthand


def connect(client: LinkEnd, server: LinkEnd, tap: Callable[[bytes], None] = lambda data: None) -> None:
    """Carry bytes to and fro until nobody has any left."""
    there, back = client.start(), b""
    while there or back:
        tap(there)
        back = server.receive(there) if there else b""
        tap(back)
        there = client.receive(back) if back else b""


def linked(tap: Callable[[bytes], None] = lambda data: None, **changes: object) -> tuple[LinkEnd, LinkEnd]:
    client = LinkEnd(settings_of(BROKER, BANK, **changes), server=False)
    server = LinkEnd(settings_of(BANK, BROKER, **changes), server=True)
    connect(client, server, tap)
    return client, server


@pytest.mark.parametrize("group", [SM2_MLKEM768, X25519_MLKEM768])
@pytest.mark.parametrize("suite", [SM4_GCM_SM3, AES_256_GCM_SHA384])
def test_the_agreed_group_and_suite_are_read_back(group: str, suite: str) -> None:
    assert tls_groups.is_available(group, suite), "the pinned library has both"
    client, server = linked(group=group, suite=suite)
    assert client.negotiated == NegotiatedLink("TLSv1.3", group, suite, BANK[2])
    assert server.negotiated == NegotiatedLink("TLSv1.3", group, suite, BROKER[2])
    server.receive(client.send(SECRET))
    assert server.read() == SECRET and server.read() == b""


@pytest.mark.parametrize(
    ("client", "server"),
    [
        (settings_of(BROKER, BANK, group=X25519_MLKEM768), settings_of(BANK, BROKER)),
        (settings_of(BROKER, BANK), settings_of(BANK, BROKER, suite=AES_256_GCM_SHA384)),
        (settings_of(STRANGER, BANK), settings_of(BANK, BROKER)),
        (settings_of(BROKER, BANK), settings_of(STRANGER, BROKER)),
        (settings_of(BROKER, BANK, peer_fingerprint="ab" * 32), settings_of(BANK, BROKER)),
        (settings_of(BROKER, BANK), settings_of(BANK, BROKER, peer_fingerprint="ab" * 32)),
    ],
)
def test_a_link_that_is_not_exactly_as_agreed_carries_nothing(client: LinkSettings, server: LinkSettings) -> None:
    ends = LinkEnd(client, server=False), LinkEnd(server, server=True)
    with pytest.raises(PeerError) as caught:
        connect(*ends)
        ends[1].receive(ends[0].send(b"payload"))
    assert caught.value.code == "LINK_REFUSED" and "链路" in caught.value.zh
    refused = [end for end in ends if end._broken]
    assert refused
    for end in refused:
        assert end.negotiated is None and end.read() == b""
        for call in (lambda end=end: end.send(b"payload"), lambda end=end: end.receive(b"")):
            with pytest.raises(PeerError):
                call()


def test_an_end_that_negotiated_something_else_refuses_although_tls_itself_was_content() -> None:
    """The context took another group, as a library would that ignores the call: only the read-back can find it."""
    client, server = LinkEnd(settings_of(BROKER, BANK), server=False), LinkEnd(settings_of(BANK, BROKER), server=True)
    for end, own, peer in ((client, BROKER, BANK), (server, BANK, BROKER)):
        context = tls_groups.make_context(settings_of(own, peer, group=X25519_MLKEM768))
        end._connection = SSL.Connection(context, None)
    client._connection.set_connect_state()
    server._connection.set_accept_state()
    with pytest.raises(PeerError) as caught:
        connect(client, server)
    assert caught.value.code == "LINK_REFUSED"


def test_nothing_is_sent_before_the_handshake_was_compared() -> None:
    client = LinkEnd(settings_of(BROKER, BANK), server=False)
    client.start()
    with pytest.raises(PeerError) as caught:
        client.send(SECRET)
    assert caught.value.code == "LINK_REFUSED"


def test_a_library_without_the_group_makes_no_link(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not tls_groups.is_available("curveOfTomorrow") and not tls_groups.is_available(SM2_MLKEM768, "TLS_NONE")
    monkeypatch.setattr(tls_groups, "GROUPS", (*tls_groups.GROUPS, "curveOfTomorrow"))
    with pytest.raises(KeyUnavailable) as caught:
        LinkEnd(settings_of(BROKER, BANK, group="curveOfTomorrow"), server=False)
    assert caught.value.code == "LINK_UNAVAILABLE" and "curveOfTomorrow" in caught.value.zh
    linked()  # a refusal leaves nothing behind in the library's queue of errors
    with pytest.raises(ValueError):
        settings_of(BROKER, BANK, group="P-256")
    with pytest.raises(ValueError):
        LinkEnd(settings_of(BROKER, BANK, key_pem=BANK[0].private_key_pem), server=False)


def test_what_came_before_the_closing_message_is_kept_and_the_end_is_known() -> None:
    client, server = linked()
    assert not server.ended
    server.receive(client.send(SECRET) + client.close())
    assert server.ended and server.read() == SECRET
    client, server = linked()
    server.receive(client.send(SECRET)[:-1])
    assert not server.ended and server.read() == b"", "a cut is no end"


def test_an_altered_record_closes_the_link() -> None:
    client, server = linked()
    record = bytearray(client.send(SECRET))
    record[len(record) // 2] ^= 1
    with pytest.raises(PeerError):
        server.receive(bytes(record))
    assert server.read() == b""


def test_strip_either_layer_and_the_other_still_hides_the_data() -> None:
    """What somebody on the line sees, with both layers, one of them, or none: only the last shows the question."""
    one, other = sessions()
    frame = one.seal(SECRET, purpose="question", now_ms=NOW)

    def on_the_line(payload: bytes, *, link: bool) -> tuple[bytes, bytes]:
        """(all bytes of the line, what arrived behind it)."""
        if not link:
            return payload, payload
        seen = bytearray()
        client, server = linked(seen.extend)
        seen += (record := client.send(payload))
        server.receive(record)
        return bytes(seen), server.read()

    needle = SECRET[:12]
    both, arrived = on_the_line(frame, link=True)
    assert needle not in both and b"question" not in both and frame not in both
    assert other.open(arrived, now_ms=NOW).payload == SECRET
    source_only, _ = on_the_line(one.seal(SECRET, purpose="question", now_ms=NOW), link=False)
    assert needle not in source_only
    link_only, arrived = on_the_line(SECRET, link=True)
    assert needle not in link_only and arrived == SECRET
    neither, _ = on_the_line(SECRET, link=False)
    assert needle in neither, "the test would see the data if it were there"


def test_a_key_is_not_shown_in_the_settings() -> None:
    assert "PRIVATE KEY" not in repr(settings_of(BROKER, BANK))
