"""The encoder of envelopes against two others: the rfc8785 package and the canonical form every other format uses."""

from __future__ import annotations

import json

import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.crypto import canonical
from workbench.domain.envelope import VERSION, Envelope, format_envelope, format_time, parse_envelope
from workbench.domain.party import PartyId
from workbench.errors import VerificationError

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,7}", fullmatch=True)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.text(alphabet='"\\/\b\t\n\f\r\x00\x1f\x7f\x80\u2028\u2029\ufeff😀é', max_size=12),
)
TOKENS = st.from_regex(r"[A-Za-z0-9._:-]{0,20}", fullmatch=True)
ENVELOPES = st.builds(
    Envelope,
    kind=st.just("intersection.released"),
    time_ms=st.integers(0, 253_402_300_799_999),
    log=st.sampled_from([PartyId("broker"), PartyId("bank-2")]),
    job=TOKENS,
    actor=TOKENS,
    refs=st.lists(st.from_regex(r"[!-~]{1,20}", fullmatch=True), max_size=3).map(tuple),
    shared=st.dictionaries(NAMES.map("s_".__add__), TEXTS, max_size=5),
    committed=st.dictionaries(NAMES.map("c_".__add__), st.binary(min_size=32, max_size=32), max_size=5),
)


def plain(envelope: Envelope) -> dict[str, object]:
    """The value whose canonical JSON a body is."""
    return {
        "v": VERSION,
        "kind": envelope.kind,
        "time": format_time(envelope.time_ms),
        "log": envelope.log,
        "job": envelope.job,
        "actor": envelope.actor,
        "refs": list(envelope.refs),
        "shared": dict(envelope.shared),
        "committed": {name: digest.hex() for name, digest in envelope.committed.items()},
    }


@settings(max_examples=400, deadline=None)
@given(ENVELOPES)
def test_every_envelope_is_written_as_rfc8785_writes_it(envelope: Envelope) -> None:
    body = format_envelope(envelope)
    assert body == rfc8785.dumps(plain(envelope))  # type: ignore[arg-type]  # plain strings, lists and objects
    assert body == canonical.format(plain(envelope))
    assert parse_envelope(body) == envelope


@settings(max_examples=300, deadline=None)
@given(ENVELOPES, st.data())
def test_the_same_value_in_any_other_spelling_is_refused(envelope: Envelope, data: st.DataObject) -> None:
    body = format_envelope(envelope)
    spellings = [
        json.dumps(plain(envelope)).encode(),
        json.dumps(plain(envelope), sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode(),
        body.replace(b'"v":', b'"v" :'),
        body.replace(b'{"actor"', b'{"actor":"","actor"'),
        body + b"\n",
        b"\xef\xbb\xbf" + body,
    ]
    other = data.draw(st.sampled_from(spellings))
    if other != body:
        try:
            parse_envelope(other)
        except VerificationError as error:
            assert error.code == "ENVELOPE"
        else:
            raise AssertionError("another spelling was accepted")
