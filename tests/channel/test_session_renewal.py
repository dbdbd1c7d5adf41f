"""Limits of a key and the renewal of a session: nothing beyond them, nothing lost or let in by the change of keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from session_world import (
    BANK_KEY,
    BROKER_KEY,
    NOW,
    PQC,
    exchange,
    refuse_frame,
    renew,
    responder,
    seal,
    sessions,
    share,
    take,
)
from workbench.channel import frame as frames
from workbench.channel.frame import Kind
from workbench.channel.session import SealedSession
from workbench.channel.session_state import Limits
from workbench.errors import KeyUnavailable, Refused, WorkbenchError


# ---------------------------------------------------------------------------------------- limits and renewals


def needs_rekey(call: Callable[[], object], limit: str) -> None:
    with pytest.raises(KeyUnavailable) as caught:
        call()
    assert caught.value.code == "REKEY_REQUIRED" and caught.value.details["limit"] == limit
    assert "换钥" in caught.value.zh and "renews" in caught.value.en


def test_a_key_seals_no_more_than_its_records() -> None:
    one, other = sessions(limits=Limits(records=8))
    for number in range(8):
        assert one.rekey_due(NOW) == (number >= 7)
        take(other, seal(one))
    needs_rekey(lambda: seal(one), "records")
    needs_rekey(lambda: one.seal_signed(b"", purpose="question", key=BROKER_KEY, now_ms=NOW), "records")
    assert other.open(one.close(now_ms=NOW), now_ms=NOW).kind is Kind.END
    other.finish()


def test_a_key_seals_no_more_than_its_bytes() -> None:
    one, other = sessions(limits=Limits(size_bytes=1000))
    take(other, seal(one, bytes(600)))
    needs_rekey(lambda: seal(one, bytes(401)), "bytes")
    assert not one.rekey_due(NOW)
    take(other, seal(one, bytes(400)))
    assert one.rekey_due(NOW) and other.rekey_due(NOW)
    needs_rekey(lambda: seal(one, b"x"), "bytes")


def test_a_key_lasts_an_hour_and_a_clock_set_back_adds_nothing() -> None:
    one, other = sessions()
    hour = 3_600_000
    late = seal(one, now_ms=NOW + hour - 1)
    assert one.rekey_due(NOW + hour * 7 // 8) and take(other, late, now_ms=NOW + hour + 59_999) == b"question"
    needs_rekey(lambda: seal(one, now_ms=NOW + hour), "time")
    needs_rekey(lambda: seal(one, now_ms=NOW), "time")
    needs_rekey(lambda: seal(other, now_ms=NOW), "time")


def test_an_opener_keeps_the_limits_whatever_the_sealer_does() -> None:
    one, other = sessions(limits=Limits(records=3))
    one._limits = Limits()
    for _ in range(3):
        take(other, seal(one))
    refuse_frame(other, seal(one))
    one, other = sessions()
    one._current.began_ms += 10**9
    refuse_frame(other, seal(one, now_ms=NOW), now_ms=NOW + 3_660_000)


def test_limits_are_set_lower_and_never_higher() -> None:
    for wrong in ({"records": 0}, {"records": (1 << 20) + 1}, {"size_bytes": (64 << 30) + 1}, {"age_s": 3601}):
        with pytest.raises(ValueError):
            Limits(**wrong)


def test_a_renewal_in_the_middle_of_traffic_loses_nothing_in_either_direction() -> None:
    one, other = sessions(limits=Limits(records=8))
    under_way = [seal(one, b"before 1"), seal(other, b"before 2")]
    renew(one, other, share(2))
    after = [seal(one, b"after 1"), seal(other, b"after 2")]
    assert take(other, after[0]) == b"after 1" and take(other, under_way[0]) == b"before 1"
    assert take(one, under_way[1]) == b"before 2" and take(one, after[1]) == b"after 2"
    assert one.epoch == other.epoch == 1 and one.session_id == other.session_id
    for _ in range(7):
        take(other, seal(one))
    needs_rekey(lambda: seal(one), "records")
    renew(one, other, share(3))
    opened = other.open(seal(one), now_ms=NOW)
    assert (opened.epoch, opened.key_ids, opened.sequence) == (2, (share(3).key_id,), 10)
    uses = other.status().epochs
    assert [(use.epoch, use.key_id, use.accepted) for use in uses] == [
        (0, share(1).key_id, 1),
        (1, share(2).key_id, 8),
        (2, share(3).key_id, 1),
    ]
    assert sum(use.sent for use in one.status().epochs) == one.status().sent


def test_the_epoch_before_closes_behind_the_new_one() -> None:
    one, other = sessions()
    first, second = seal(one, b"1"), seal(one, b"2")
    old, sealing = other._current.agreed.receive, other._current.agreed.send
    renew(one, other, share(2))
    assert not any(sealing._key._key), "nobody seals under the old key any more, so it is gone at once"
    take(other, seal(one, b"3"))
    take(other, first)
    for _ in range(63):
        take(other, seal(one))
    with pytest.raises(ValueError, match="wiped"):
        old.open_sealed(frames.split(second))
    refuse_frame(other, second)
    one, other = sessions()
    late = seal(one)
    renew(one, other, share(2), now_ms=NOW)
    refuse_frame(other, late, now_ms=NOW + 60_000)


def test_nothing_new_comes_under_the_epoch_before() -> None:
    """A sequence above one that was accepted under the new epoch cannot have been sealed by an honest end."""
    mine, theirs = exchange()
    stolen = frames.DirectionKey(
        mine.suite.cipher, bytes(mine.send._key._key), mine.send._salt, key_id=mine.key_id, provenance=mine.provenance
    )
    one, other = SealedSession(mine, now_ms=NOW), SealedSession(theirs, now_ms=NOW)
    renew(one, other, share(2))
    take(other, seal(one))
    header = frames.Header(1, Kind.DATA, 0, mine.session, 0, 5, "question").format()
    refuse_frame(other, stolen.seal(header, 5, b"forged with the old key"))


def test_only_who_holds_the_session_can_renew_it() -> None:
    """Whoever has both SM2 keys and the new QKD key, but not the renewal secret, ends in another secret."""
    one, other = sessions()
    first, second = one.renewal(key=BROKER_KEY, qkd=share(2)), other.renewal_responder(key=BANK_KEY)
    assert second._renews is not None
    second._renews = replace(second._renews, secret=type(second._renews.secret)(b"x" * 32))
    second.receive_hello(first.hello())
    with pytest.raises(WorkbenchError) as caught:
        first.receive_answer(second.answer(share(2)))
    assert caught.value.code == "HANDSHAKE_REFUSED"
    assert take(other, seal(one)) == b"question", "a renewal that failed leaves the session as it was"


def test_without_the_key_its_policy_asks_for_a_session_is_not_renewed() -> None:
    one, other = sessions(limits=Limits(records=2))
    with pytest.raises(KeyUnavailable) as caught:
        one.renewal(key=BROKER_KEY, qkd=None, retry_after_s=30)
    assert caught.value.code == "QKD_KEY_REQUIRED" and caught.value.details["retry_after_s"] == "30"
    take(other, seal(one))
    take(other, seal(one))
    needs_rekey(lambda: seal(one), "records")
    assert one.epoch == 0


def test_a_first_exchange_is_no_renewal_and_a_renewal_no_first_exchange() -> None:
    one, other = sessions()
    for wrong in (exchange()[0], exchange(PQC)[0]):
        with pytest.raises(ValueError, match="next epoch"):
            one.adopt(wrong, now_ms=NOW)
        assert wrong.export.wiped
    with pytest.raises(ValueError):
        other.renewal(key=BANK_KEY, qkd=share(2))
    with pytest.raises(ValueError):
        one.renewal_responder(key=BROKER_KEY)
    first = one.renewal(key=BROKER_KEY, qkd=share(2))
    with pytest.raises(Refused) as caught:
        responder().receive_hello(first.hello())
    assert caught.value.details == {"field": "session"}
