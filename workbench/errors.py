"""The error tree, split by who acts next.

Every class has a short stable `code` shown on pages, in exit statuses and in evidence. Messages say what happened, to
which object, and who must do what, in Chinese and English; they never carry a secret or an identifier of a customer.
Programming mistakes stay ValueError, TypeError or an assertion: those are not part of this tree and are not caught.
"""

from __future__ import annotations

from typing import ClassVar


class WorkbenchError(Exception):
    """An expected failure with a stable code and a sentence in two languages.

    code: short upper-case name; a subclass has a default and a caller may name a narrower one.
    zh, en: one sentence each: what happened, to what, who must do what.
    details: plain values (counts, ids, names of rules) that pages and evidence may show.
    """

    default_code: ClassVar[str] = "FAILED"
    exit_status: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, zh: str, en: str, *, code: str = "", details: dict[str, str] | None = None) -> None:
        super().__init__(en)
        self.zh = zh
        self.en = en
        self.code = code or self.default_code
        self.details: dict[str, str] = dict(details or {})

    def __str__(self) -> str:
        return f"{self.zh} / {self.en} [{self.code}]"

    def as_dict(self) -> dict[str, object]:
        """The form that replies, pages and `--json` output carry."""
        return {"code": self.code, "zh": self.zh, "en": self.en, "details": self.details}


class Refused(WorkbenchError):
    """A rule said no. Staff act next; nothing is broken."""

    default_code = "REFUSED"
    exit_status = 2
    http_status = 409


class Denied(Refused):
    """The person may not do this: no ticket, wrong role, own proposal, or no fresh confirmation."""

    default_code = "DENIED"
    http_status = 403


class SignInRequired(Denied):
    """Nobody is signed in, or the ticket has expired."""

    default_code = "SIGN_IN_REQUIRED"
    http_status = 401


class InvalidRequest(Refused):
    """The request does not fit the operation's description."""

    default_code = "INVALID_REQUEST"
    http_status = 422


class NotFound(Refused):
    """The named object does not exist here, or this person may not know of it."""

    default_code = "NOT_FOUND"
    http_status = 404


class TooLarge(Refused):
    """A body or a file exceeds the stated limit."""

    default_code = "TOO_LARGE"
    http_status = 413


class PeerError(WorkbenchError):
    """The other institution failed or misbehaved. Operators act next."""

    default_code = "PEER_FAILED"
    http_status = 502


class PeerUnavailable(PeerError):
    """The other institution did not answer within the agreed time."""

    default_code = "PEER_UNAVAILABLE"
    http_status = 504


class ProtocolViolation(PeerError):
    """A message of the other institution breaks the protocol; the attempt ends, the message is kept by digest only."""

    default_code = "PROTOCOL_VIOLATION"


class Disputed(PeerError):
    """Both institutions followed the protocol to its end and their results differ. Both compliance teams act."""

    default_code = "DISPUTED"


class VerificationError(WorkbenchError):
    """Evidence, a proof or a signature does not hold. Compliance acts next."""

    default_code = "NOT_VERIFIED"
    exit_status = 2
    http_status = 422


class KeyUnavailable(WorkbenchError):
    """A key is missing, locked or exhausted. Key staff act next; no other key is used instead."""

    default_code = "KEY_UNAVAILABLE"
    http_status = 503


class StorageFailed(WorkbenchError):
    """The disk or the evidence store refused a write. Operators act next; nothing was half written."""

    default_code = "STORAGE_FAILED"
    http_status = 507


class SelfTestFailed(WorkbenchError):
    """Arithmetic on this machine gives a wrong answer. The node must not compute; operators act next."""

    default_code = "SELF_TEST_FAILED"


class StartRefused(WorkbenchError):
    """The node does not start: a provider is missing or doubled, or its folder is open to others."""

    default_code = "START_REFUSED"
    exit_status = 2


class Cancelled(Refused):
    """A person stopped the work. What was recorded stays; no result exists."""

    default_code = "CANCELLED"
