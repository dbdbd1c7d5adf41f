"""Bytes of the letter about a withdrawal and of its answer (docs/protocols/withdrawal.md sections 3 and 4)."""

from __future__ import annotations

import hmac
import json

import pytest

from workbench.crypto import sm3
from workbench.domain.intersection import KeyKind
from workbench.domain.withdrawal import (
    MOST_JOBS,
    MOST_TAGS,
    JobAnswer,
    WithdrawalNotice,
    meant,
    pack_answer,
    parse_answer,
    parse_notice,
    tags_of,
)
from workbench.errors import ProtocolViolation, VerificationError

SALT = bytes(range(32))
PHONES = ["10000000001", "10000000002"]


def notice(jobs: int = 1, people: int = 2) -> WithdrawalNotice:
    values = [f"100{number:08d}" for number in range(people)]
    rows = tuple(meant(SALT, job=f"J-{number:03d}", key_kind=KeyKind.PHONE, values=values) for number in range(jobs))
    return WithdrawalNotice("wealth-marketing", 1_790_000_000_000, rows)


def test_the_tag_is_the_one_of_the_document() -> None:
    """HMAC as RFC 2104 has it, over SM3, written out here."""
    message = b"workbench/v1/withdrawn-customer\n" + b"\0\x03J-1" + b"\0\x05phone" + PHONES[0].encode()
    inner = sm3.digest(bytes(one ^ 0x36 for one in SALT + bytes(32)) + message)
    expected = sm3.digest(bytes(one ^ 0x5C for one in SALT + bytes(32)) + inner)
    assert tags_of(SALT, job="J-1", key_kind=KeyKind.PHONE, values=PHONES)[0] == expected
    others = [
        tags_of(SALT, job="J-2", key_kind=KeyKind.PHONE, values=PHONES)[0],
        tags_of(SALT, job="J-1", key_kind=KeyKind.ID_NO, values=PHONES)[0],
        tags_of(SALT[::-1], job="J-1", key_kind=KeyKind.PHONE, values=PHONES)[0],
    ]
    assert not any(hmac.compare_digest(expected, one) for one in others), "salt, job and kind are part of the tag"


def test_many_tags_are_those_of_one_by_one() -> None:
    values = [f"100{number:08d}" for number in range(3000)]
    together = tags_of(SALT, job="J-1", key_kind=KeyKind.PHONE, values=values)
    assert together[::500] == [tags_of(SALT, job="J-1", key_kind=KeyKind.PHONE, values=[one])[0] for one in values[::500]]


@pytest.mark.parametrize(("jobs", "people"), [(1, 1), (3, 2), (MOST_JOBS, 1), (1, MOST_TAGS)])
def test_what_is_packed_is_read_again(jobs: int, people: int) -> None:
    made = notice(jobs, people)
    assert parse_notice(made.pack()) == made
    assert made.pack().startswith(b'{"jobs":[{"job":"J-000","key_kind":"phone","salt":"' + SALT.hex().encode())
    assert all(value.encode() not in made.pack() for value in PHONES)


def test_every_cut_or_other_form_of_a_notice_is_refused() -> None:
    data = notice().pack()
    for size in range(len(data)):
        with pytest.raises(ProtocolViolation):
            parse_notice(data[:size])
    value = json.loads(data)
    job = value["jobs"][0]
    for changed in (
        value | {"v": 2}, value | {"v": True}, value | {"more": 1}, value | {"time_ms": -1}, value | {"purpose": "UPPER"},
        value | {"jobs": []}, value | {"jobs": [job, job]}, value | {"jobs": [job] * (MOST_JOBS + 1)},
        value | {"jobs": [job | {"salt": "00"}]}, value | {"jobs": [job | {"tags": []}]},
        value | {"jobs": [job | {"tags": job["tags"][::-1]}]}, value | {"jobs": [job | {"tags": job["tags"][:1] * 2}]},
        value | {"jobs": [job | {"key_kind": "email"}]}, value | {"jobs": [job | {"job": ""}]}, [value],
    ):  # fmt: skip
        with pytest.raises(ProtocolViolation, match="WITHDRAWAL_MALFORMED"):
            parse_notice(json.dumps(changed, sort_keys=True, separators=(",", ":")).encode())
    for people in (0, MOST_TAGS + 1):
        with pytest.raises(ValueError, match="1 to 100"):
            notice(1, people)


def test_answers_are_read_in_their_one_form_only() -> None:
    answers = (JobAnswer("J-1", "marked", 2, 1), JobAnswer("J-2", "no-list", 0, 0))
    data = pack_answer(answers)
    assert parse_answer(data) == answers
    for changed in (
        data.replace(b"marked", b"<b>hello"), data.replace(b'"customers":2', b'"customers":-2'), data[:-1], b"[]", b"{}",
        data.replace(b'"exports":1', b'"exports":true'), data.replace(b'"v":1', b'"v":2'),
    ):  # fmt: skip
        with pytest.raises(VerificationError):
            parse_answer(changed)
