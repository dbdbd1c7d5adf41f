"""Decisions of people about lines: signed by the institution, two people where two are needed (docs/protocols/qkd-channel.md section 9)."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from workbench_ledger.package.verifier.arithmetic import sm3, verify_sm2
from workbench_ledger.package.verifier.formats import HEX32, Bad, Envelope, Keys, canonical, parse_canonical
from workbench_ledger.package.verifier.result import Result

_LINE_POLICIES = ("qkd-required", "hybrid-required", "pqc-only")
_LINE_ASKED = ("qkd.downgrade_proposed", "qkd.resume_proposed")
_LINE_DECIDED = ("qkd.policy_tightened", "qkd.downgraded", "qkd.resumed")
_LINE_REQUEST = {"act", "asked_ms", "before", "first", "line", "nonce", "target", "until_ms", "v"}
_LINE_DECISION = {"decided_ms", "number", "previous", "request", "second", "v"}
_LINE_NONCE = re.compile(r"[0-9a-f]{32}")
_LINE_PERSON = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_LINE_SIGNATURE = re.compile(r"[0-9a-f]{128}")


class _LineDecision(NamedTuple):
    """What a chain needs of a decision. digest: of it as it is written, hexadecimal."""

    number: int
    previous: str
    digest: str


def check_decisions(entries: list[tuple[str, int, Envelope]], keys: dict[str, Keys], result: Result) -> bool:
    """The step, where entries are about decisions; whether there was one. entries: log, index and envelope, ascending."""
    about = [one for one in entries if one[2].kind in (*_LINE_ASKED, *_LINE_DECIDED)]
    if not about:
        return False
    step = result.begin("decisions")
    last: dict[str, _LineDecision] = {}
    for log, index, envelope in about:
        where: dict[str, Any] = {"file": f"entries/{log}/{index:012d}.json", "log": log, "index": index}
        try:
            if envelope.kind in _LINE_ASKED:
                written = parse_canonical(envelope.shared.get("request", "").encode("utf-8"))
                _compare_line(envelope, _read_line_request(written, log, keys), "")
                continue
            made, request, second = _read_line_decision(envelope.shared.get("decision", ""), log, keys)
            before = last.get(log)
            last[log] = made
            if before is not None and (made.number <= before.number or (made.number == before.number + 1 and made.previous != before.digest)):
                raise Bad("DECISION_DIFFERS")
            _compare_line(envelope, request, second)
        except Bad as bad:
            step.problem(bad.code, **where)
        except (ValueError, TypeError, KeyError):
            step.problem("DECISION_ALTERED", **where)
    step.end(count=len(about))
    return True


def _read_line_request(value: Any, log: str, keys: dict[str, Keys]) -> dict[str, Any]:
    """The member `request` of a written request that this institution signed. Raises ValueError, TypeError or KeyError."""
    if not isinstance(value, dict) or set(value) != {"request", "signature"}:
        raise ValueError("request")
    one = value["request"]
    if not isinstance(one, dict) or set(one) != _LINE_REQUEST or type(one["v"]) is not int or one["v"] != 1:
        raise ValueError("request")
    if not all(isinstance(one[name], str) for name in ("act", "before", "first", "line", "nonce", "target")) or not one["line"]:
        raise ValueError("texts")
    if not all(_line_number(one[name], 0) for name in ("asked_ms", "until_ms")) or one["asked_ms"] > one["until_ms"]:
        raise ValueError("times")
    if one["act"] == "policy":
        fits = one["target"] in _LINE_POLICIES and one["before"] in _LINE_POLICIES and one["target"] != one["before"]
    else:
        fits = (one["act"], one["target"], one["before"]) == ("resume", "", "")
    if not fits or not _LINE_NONCE.fullmatch(one["nonce"]) or not _LINE_PERSON.fullmatch(one["first"]):
        raise ValueError("values")
    _verify_line("line-request", one, value["signature"], log, keys)
    return one


def _read_line_decision(text: str, log: str, keys: dict[str, Keys]) -> tuple[_LineDecision, dict[str, Any], str]:
    """(decision, its request, token of who confirmed it). Raises ValueError, TypeError or KeyError."""
    value = parse_canonical(text.encode("utf-8"))
    if set(value) != {"decision", "signature"}:
        raise ValueError("decision")
    one = value["decision"]
    if not isinstance(one, dict) or set(one) != _LINE_DECISION or type(one["v"]) is not int or one["v"] != 1:
        raise ValueError("decision")
    request = _read_line_request(one["request"], log, keys)
    number, previous, second = one["number"], one["previous"], one["second"]
    if not isinstance(previous, str) or not isinstance(second, str) or not _line_number(number, 1) or not _line_number(one["decided_ms"], 0):
        raise ValueError("types")
    if not (HEX32.fullmatch(previous) if number > 1 else previous == ""):
        raise ValueError("chain")
    if _line_needs_two(request):
        fits = bool(_LINE_PERSON.fullmatch(second)) and second != request["first"] and one["decided_ms"] <= request["until_ms"]
    else:
        fits = second == ""
    if not fits or one["decided_ms"] < request["asked_ms"]:
        raise ValueError("two people")
    _verify_line("line-decision", one, value["signature"], log, keys)
    return _LineDecision(number, previous, sm3(text.encode("utf-8")).hex()), request, second


def _verify_line(kind: str, value: dict[str, Any], signature: Any, log: str, keys: dict[str, Keys]) -> None:
    if not isinstance(signature, str) or not _LINE_SIGNATURE.fullmatch(signature) or log not in keys or not keys[log].contract:
        raise ValueError("signature")
    message = f"workbench/v1/{kind}\n{log}\n\n{canonical(value)}".encode()
    if not verify_sm2(keys[log].contract, message, bytes.fromhex(signature)):
        raise ValueError("signature")


def _compare_line(envelope: Envelope, request: dict[str, Any], second: str) -> None:
    """Return if the entry says what was signed. second: of a decision. Raises Bad DECISION_DIFFERS."""
    is_asked, is_resume = envelope.kind in _LINE_ASKED, request["act"] == "resume"
    if is_asked:
        kind = "qkd.resume_proposed" if is_resume else "qkd.downgrade_proposed"
    else:
        kind = "qkd.resumed" if is_resume else "qkd.downgraded" if second else "qkd.policy_tightened"
    said = {"line": request["line"]}
    if not is_resume:
        said.update(policy=request["target"], before=request["before"])
    if is_asked or second:
        name = sm3(b"workbench/v1/line-request-name\n" + canonical(request).encode("utf-8")).hex()
        said["proposal"] = f"Q-{name[:32]}"
    if is_asked:
        said["until"] = str(request["until_ms"])
    if envelope.kind != kind or any(envelope.shared.get(name) != text for name, text in said.items()):
        raise Bad("DECISION_DIFFERS")


def _line_needs_two(request: dict[str, Any]) -> bool:
    """A resumption, or a weaker policy."""
    return request["act"] == "resume" or _LINE_POLICIES.index(request["target"]) > _LINE_POLICIES.index(request["before"])


def _line_number(value: Any, least: int) -> bool:
    return type(value) is int and value >= least
