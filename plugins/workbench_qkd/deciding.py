"""Decisions of people about a line as signed bytes: what one asks for, and what a second one confirms.

Document: docs/protocols/qkd-channel.md section 9. Pure: time, numbers and keys are arguments. The institution's contract key
signs, as for the allow-list; people have no keys of their own, their tokens stand in what is signed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from workbench.crypto import canonical, labels, sm2, sm3
from workbench.domain.party import PartyId
from workbench.errors import VerificationError
from workbench_qkd.model import POLICIES, is_weaker

ACTS: Final = ("policy", "resume")
_REQUEST_KIND: Final = "line-request"
_DECISION_KIND: Final = "line-decision"
_NAME_LABEL: Final = b"workbench/v1/line-request-name\n"
_NONCE = re.compile(r"[0-9a-f]{32}")
_TOKEN = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}|")
_REQUEST_MEMBERS = frozenset({"act", "asked_ms", "before", "first", "line", "nonce", "target", "until_ms", "v"})
_DECISION_MEMBERS = frozenset({"decided_ms", "number", "previous", "request", "second", "v"})


@dataclass(frozen=True, slots=True)
class LineRequest:
    """What one person asks for. act: "policy" or "resume"; target, before: policies, "" to resume; first: token of the person.

    nonce: 16 random bytes in hexadecimal, so that no two requests are alike. until_ms: end of the time to confirm it.
    """

    line: str
    act: str
    target: str
    before: str
    first: str
    asked_ms: int
    until_ms: int
    nonce: str

    def __post_init__(self) -> None:
        policies_fit = (
            self.target in POLICIES and self.before in POLICIES and self.target != self.before
            if self.act == "policy"
            else (self.target, self.before) == ("", "")
        )
        if self.act not in ACTS or not policies_fit or not _TOKEN.fullmatch(self.first) or not _NONCE.fullmatch(self.nonce):
            raise ValueError("no such request")
        if not self.line or not 0 <= self.asked_ms <= self.until_ms:
            raise ValueError("a request has a line, and its time ends after it began")

    @property
    def needs_two(self) -> bool:
        """Whether one person's word is not enough: a weaker policy, or a line that an alarm stopped."""
        return self.act == "resume" or is_weaker(self.target, self.before)

    @property
    def name(self) -> str:
        """What the second person confirms: `Q-` and 32 hexadecimal digits of what is signed."""
        return "Q-" + sm3.digest(_NAME_LABEL + canonical.format(_request(self))).hex()[:32]


@dataclass(frozen=True, slots=True)
class LineDecision:
    """A request that is in force. number: its place among the decisions of this institution, from 1.

    previous: digest of the decision before, "" for the first. second: token of who confirmed it, "" where one person was
    enough. Both signatures are the institution's, 64 bytes: the first was made when it was asked for.
    """

    number: int
    previous: str
    request: LineRequest
    request_signature: bytes = field(repr=False)
    second: str
    decided_ms: int
    signature: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        two = self.request.needs_two
        if bool(self.second) is not two or self.second == self.request.first or (two and not _TOKEN.fullmatch(self.second)):
            raise ValueError("a weaker policy and a resumption have two people, a stricter policy one")
        if self.number < 1 or not _DIGEST.fullmatch(self.previous) or bool(self.previous) is (self.number == 1):
            raise ValueError("a decision follows the one before it")
        if self.decided_ms < self.request.asked_ms or (two and self.decided_ms > self.request.until_ms):
            raise ValueError("it was not decided in its time")


def sign_request(request: LineRequest, *, party: PartyId, key: sm2.PrivateKey) -> bytes:
    """The written request with its signature, made while its person's confirmation is fresh."""
    signature = key.sign(_signed(_REQUEST_KIND, party, _request(request)))
    return canonical.format({"request": _request(request), "signature": signature.hex()})


def read_request(data: bytes, *, party: PartyId, key: sm2.PublicKey) -> tuple[LineRequest, bytes]:
    """(request, its signature) of `sign_request`. Raises VerificationError LINE_DECISION."""
    try:
        value = canonical.parse_object(data)
        if set(value) != {"request", "signature"}:
            raise ValueError("not a request")
        request, signature = _request_from(value["request"]), _bytes(value["signature"])
        if canonical.format(value) != data:
            raise ValueError("another spelling")
        key.verify(_signed(_REQUEST_KIND, party, _request(request)), signature)
    except (ValueError, KeyError, TypeError, VerificationError) as error:
        raise altered(party) from error
    return request, signature


def decide(
    asked: bytes, *, second: str, decided_ms: int, number: int, previous: str, party: PartyId, key: sm2.PrivateKey
) -> tuple[LineDecision, bytes]:
    """(decision, as it is written) on a written request. Raises VerificationError LINE_DECISION where the request does not hold.

    previous: digest of the decision before. Raises ValueError where the rule of two people is broken.
    """
    request, request_signature = read_request(asked, party=party, key=key.public)
    made = LineDecision(number, previous, request, request_signature, second, decided_ms)
    signature = key.sign(_signed(_DECISION_KIND, party, _decision(made)))
    return (
        LineDecision(number, previous, request, request_signature, second, decided_ms, signature),
        canonical.format({"decision": _decision(made), "signature": signature.hex()}),
    )


def read_decision(data: bytes, *, party: PartyId, key: sm2.PublicKey) -> LineDecision:
    """The decision that these bytes write, both signatures and the rule of two people checked. VerificationError LINE_DECISION.

    Cost: two SM2 verifications.
    """
    try:
        value = canonical.parse_object(data)
        told: Any = value["decision"]
        if set(value) != {"decision", "signature"} or set(told) != _DECISION_MEMBERS or told["v"] != 1 or canonical.format(value) != data:
            raise ValueError("not a decision")
        if set(told["request"]) != {"request", "signature"}:
            raise ValueError("a decision holds a signed request")
        request, request_signature = read_request(canonical.format(told["request"]), party=party, key=key)
        made = LineDecision(
            _whole(told["number"]), _text(told["previous"]), request, request_signature, _text(told["second"]), _whole(told["decided_ms"]),
            _bytes(value["signature"]),
        )  # fmt: skip
        key.verify(_signed(_DECISION_KIND, party, _decision(made)), made.signature)
    except (ValueError, KeyError, TypeError, VerificationError) as error:
        raise altered(party) from error
    return made


def asks(kind: str, shared: Mapping[str, str], request: LineRequest) -> bool:
    """Whether an entry of a proposal says what was signed."""
    said = {"proposal": request.name, "line": request.line, "until": str(request.until_ms)}
    if request.act == "policy":
        said |= {"policy": request.target, "before": request.before}
    fits = all(shared.get(name) == value for name, value in said.items())
    return fits and kind == ("qkd.resume_proposed" if request.act == "resume" else "qkd.downgrade_proposed")


def tells(kind: str, shared: Mapping[str, str], made: LineDecision) -> bool:
    """Whether an entry of a decision says what was signed."""
    asked = made.request
    said = {"line": asked.line}
    if asked.act == "policy":
        said |= {"policy": asked.target, "before": asked.before}
    if asked.needs_two:
        said["proposal"] = asked.name
    wanted = "qkd.resumed" if asked.act == "resume" else "qkd.downgraded" if asked.needs_two else "qkd.policy_tightened"
    return kind == wanted and all(shared.get(name) == value for name, value in said.items())


def digest(data: bytes) -> str:
    """Of a written decision, hexadecimal: the next one names it."""
    return sm3.digest(data).hex()


def check_chain(written: Iterable[bytes], *, party: PartyId, key: sm2.PublicKey) -> list[LineDecision]:
    """All decisions of an institution, oldest first. VerificationError LINE_DECISION when one was altered, left out, added or moved."""
    found: list[LineDecision] = []
    previous = ""
    for data in written:
        one = read_decision(data, party=party, key=key)
        if (one.number, one.previous) != (len(found) + 1, previous):
            raise altered(party)
        found.append(one)
        previous = digest(data)
    return found


def altered(party: PartyId) -> VerificationError:
    """A signed request or decision does not hold. Compliance acts next."""
    return VerificationError(
        f"机构 {party} 关于线路的一项提议或决定签名不符、被改动或不连续，不予采信；合规岗对照日志核查",
        f"a request or decision of {party} about a line is not signed by it, was altered or does not continue the ones before; it counts for nothing. Compliance compares the log",
        code="LINE_DECISION",
        details={"party": party},
    )


def _request(one: LineRequest) -> dict[str, canonical.Json]:
    return {
        "act": one.act, "asked_ms": one.asked_ms, "before": one.before, "first": one.first, "line": one.line, "nonce": one.nonce, "target": one.target,
        "until_ms": one.until_ms, "v": 1,
    }  # fmt: skip


def _decision(one: LineDecision) -> dict[str, canonical.Json]:
    return {
        "decided_ms": one.decided_ms, "number": one.number, "previous": one.previous,
        "request": {"request": _request(one.request), "signature": one.request_signature.hex()}, "second": one.second, "v": 1,
    }  # fmt: skip


def _request_from(told: Any) -> LineRequest:  # Any: out of JSON, checked here
    if not isinstance(told, dict) or set(told) != _REQUEST_MEMBERS or told["v"] != 1:
        raise ValueError("not a request")
    texts = {name: _text(told[name]) for name in ("line", "act", "target", "before", "first", "nonce")}
    return LineRequest(**texts, asked_ms=_whole(told["asked_ms"]), until_ms=_whole(told["until_ms"]))


def _signed(kind: str, party: PartyId, body: dict[str, canonical.Json]) -> bytes:
    return labels.signing_input(kind, party=party, job="", body=canonical.format(body))


def _bytes(value: Any) -> bytes:
    text = _text(value)
    found = bytes.fromhex(text)
    if found.hex() != text:
        raise ValueError("small hexadecimal digits only")
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is missing")  # noqa: TRY004 - it is data, not a programming mistake
    return value


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError("a number is missing")
    return value


__all__ = [
    "ACTS", "LineDecision", "LineRequest", "altered", "asks", "check_chain", "decide", "digest", "read_decision", "read_request", "sign_request", "tells",
]  # fmt: skip
