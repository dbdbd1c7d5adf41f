"""A message with a customer's number in plain does not leave the institution (requirement row A3)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.channel.message import OutboundSequence, seal_message
from workbench.channel.outgoing import refuse_identifiers
from workbench.crypto import random, sm2
from workbench.domain.party import PartyId
from workbench.errors import Refused

PHONES = [b"13800001234", b"+8613800001234", b"0086 19900000013", b"86-17000000000"]
ID_NOS = [b"110101199003070011", b"99010120051231123X", b"99010120051231123x"]


@pytest.mark.parametrize("number", PHONES + ID_NOS)
@pytest.mark.parametrize(("before", "after"), [(b"", b""), (b'{"tag":"', b'"}'), (b"\x00\xff", b"\n"), (b"phone=", b",")])
def test_a_number_in_plain_is_found_wherever_it_stands(number: bytes, before: bytes, after: bytes) -> None:
    with pytest.raises(Refused) as caught:
        refuse_identifiers(before + number + after)
    assert caught.value.code == "IDENTIFIER_IN_MESSAGE"
    assert number.decode() not in caught.value.zh + caught.value.en


@given(st.binary(max_size=4096), st.integers(min_value=10**12, max_value=10**13 - 1))
def test_points_digests_times_and_ids_pass(points: bytes, time_ms: int) -> None:
    refuse_identifiers(points.translate(None, b"0123456789"))
    terms = {"job": "J-20261122-19763882", "time_ms": time_ms, "digest": "1" + "3800001234" * 6 + "abc", "size": 4_194_304}
    refuse_identifiers(json.dumps(terms).encode())


def test_a_refused_message_leaves_the_sequence_where_it_was() -> None:
    outbound = OutboundSequence(job="J-1", attempt=1, sender=PartyId("broker"), recipient=PartyId("bank"))
    key = sm2.generate(random.SeededSource(b"broker"))
    with pytest.raises(Refused, match="IDENTIFIER_IN_MESSAGE"):
        seal_message(outbound, kind="points", payload=b"id 13800001234", contract="", key=key, now_ms=1_772_438_400_000)
    assert (outbound.sequence, outbound.previous) == (0, "")
