"""What staff fill in at the rights desk, operation by operation; the codes are those of docs/rights.md."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from workbench.app.parts.acting import Act, Field
from workbench.errors import InvalidRequest

KINDS = ("access", "copy", "portability", "correction", "deletion", "restriction", "explanation", "complaint")
CHANNELS = ("counter", "phone", "web", "e-mail", "post", "fax")
APPLICANTS = ("subject", "agent", "guardian", "kin")
METHODS = ("in-person", "video", "signed-letter", "e-signature", "one-time-code", "attorney-document")
CATEGORIES = ("unwanted-contact", "consent", "data-leak", "wrong-data", "product", "service", "other")
STEPS = ("contact", "negotiation", "mediation", "litigation", "arbitration", "settlement", "progress")
OUTCOMES = ("upheld", "partly-upheld", "not-upheld", "settled", "taken-back")
DECISIONS = ("granted", "partly", "refused")
REQUEST_STATES = ("RECEIVED", "IDENTIFIED", "GRANTED", "PARTLY", "REFUSED", "ANSWERED", "CLOSED")
COMPLAINT_STATES = ("OPEN", "HANDLING", "CLOSED")

_PHONE, _ID_NO, _REASON = Field("phone"), Field("id_no"), Field("reason")
_WHERE = Field("channel", "choice", CHANNELS)

RECEIVE = Act(
    "rights.receive",
    (
        Field("kind", "choice", KINDS), _PHONE, _ID_NO, _WHERE, Field("applicant", "choice", APPLICANTS), Field("authority"),
        Field("details", "long"), Field("changes", "pairs"),
    ),
)  # fmt: skip
REQUEST_ACTS = (
    Act("rights.identify", (Field("method", "choice", METHODS), Field("note"), Field("confirmed", "tick")), password=True),
    Act("rights.decide", (Field("decision", "choice", DECISIONS), _REASON), password=True),
    Act("rights.answer", password=True),
    Act("rights.explain"),
    Act("rights.evidence_pack", password=True),
    Act("rights.extend", (Field("days", "number", default=10), _REASON)),
    Act("rights.lift_restriction", (_REASON,), password=True),
    Act("rights.close", (_REASON,)),
)
NOTE = Act(
    "complaints.note",
    (_PHONE, _ID_NO, _WHERE, Field("category", "choice", CATEGORIES), Field("job"), Field("facts", "long")),
)  # fmt: skip


def _kind_of(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The field of this name is the request's `kind`; its words differ from those of a rights request's kind."""
    return lambda values: {"kind": values[name], **{one: value for one, value in values.items() if one != name}}


def _group(values: dict[str, Any]) -> dict[str, Any]:
    """One task in the same words for each institution that was ticked."""
    text, day, parties = values.pop("text"), values.pop("due_day", None), values.pop("parties")
    return {**values, "invitations": [{"party": one, "text": text, "due_day": day} for one in parties]}


def _money(values: dict[str, Any]) -> dict[str, Any]:
    """Yuan as a person types them, to whole fen."""
    try:
        fen = Decimal(values.pop("amount").replace(",", "")) * 100
    except InvalidOperation as error:
        raise InvalidRequest("金额须是数字，如 1280.50", "the amount must be a number such as 1280.50") from error
    if fen != fen.to_integral_value():
        raise InvalidRequest("金额至多两位小数", "the amount has two decimals at most")
    return {**values, "amount_fen": int(fen)}


COMPLAINT_ACTS = (
    Act("complaints.handle", (Field("category", "choice", ("", *CATEGORIES)), Field("is_major", "tick"))),
    Act("complaints.told", (Field("text", "long"),)),
    Act("complaints.step", (Field("step", "choice", STEPS), Field("text", "long")), shape=_kind_of("step")),
    Act("complaints.stop_contact", (Field("purpose", "choice"), Field("recipient", "choice")), password=True),
    Act(
        "complaints.add_task",
        (Field("task_kind", "choice", ("task", "rectification")), Field("owner", default="compliance"), Field("due_day", "day"), Field("text", "long")),
        shape=_kind_of("task_kind"),
    ),
    Act("complaints.add_file", (Field("note"), Field("file", "file"))),
    Act(
        "complaints.open_group", (Field("due_day", "day"), Field("text", "long"), Field("parties", "choices"), Field("with_job", "tick", default=True)),
        password=True, shape=_group,
    ),
    Act("complaints.evidence_pack", password=True),
    Act(
        "complaints.assess_liability",
        (Field("liable"), Field("entries", "words"), Field("package_sm3"), Field("basis", "long")), password=True,
    ),
    Act(
        "complaints.record_compensation", (Field("amount"), Field("payer"), Field("agreed_day", "day"), Field("text", "long")),
        password=True, shape=_money,
    ),
    Act("complaints.close", (Field("outcome", "choice", OUTCOMES), _REASON), password=True),
    Act("complaints.reopen", (_REASON,)),
)  # fmt: skip
FILE_ACTS = (Act("complaints.read_file", (_REASON,), password=True),)
TASK_ACTS = (Act("complaints.finish_task", (Field("result"),)),)
ALL_ACTS = (RECEIVE, *REQUEST_ACTS, NOTE, *COMPLAINT_ACTS, *FILE_ACTS, *TASK_ACTS)


def complaint_steps(state: str) -> list[str]:
    """Which acts fit a complaint in a state; the node decides again."""
    if state == "CLOSED":
        return ["complaints.reopen", "complaints.evidence_pack"]
    return [one.operation for one in COMPLAINT_ACTS if one.operation != "complaints.reopen"]


__all__ = ["ALL_ACTS", "COMPLAINT_ACTS", "FILE_ACTS", "NOTE", "RECEIVE", "REQUEST_ACTS", "TASK_ACTS", "complaint_steps"]
