"""What staff fill in to take consents in and to issue receipts; the codes are those of docs/protocols/capture.md."""

from __future__ import annotations

from typing import Any

from workbench.app.parts.acting import Act, Field

METHODS = ("wet-scan", "assisted", "ca-esign", "otp-stated", "voice")
SIGNERS = ("self", "guardian", "agent", "kin")
_WHO = (Field("phone"), Field("id_no"))
_OFFER = (Field("purpose", "choice"), Field("until", "day"), Field("recipients", "choices"))


def _offers(values: dict[str, Any]) -> dict[str, Any]:
    """One purpose towards each institution that was ticked, until one day."""
    purpose, until, recipients = values["purpose"], values.get("until"), values["recipients"]
    rest = {name: value for name, value in values.items() if name not in ("purpose", "until", "recipients")}
    return {**rest, "offers": [{"purpose": purpose, "recipient": one, "until": until} for one in recipients]}


ASK = Act(
    "consent.ask",
    (
        *_WHO, Field("notice", "choice"), Field("way", "choice", ("page", "assisted")), Field("place"), Field("identity"), *_OFFER,
        Field("otp_stated", "tick"),
    ),
    shape=_offers,
)  # fmt: skip
CAPTURE = Act(
    "consent.capture",
    (
        *_WHO, Field("notice", "choice"), Field("method", "choice", METHODS), Field("signer", "choice", SIGNERS),
        *(Field(one) for one in ("signer_name", "signer_relation", "authority", "authority_digest")),
        Field("initiative", "choice", ("staff", "customer")), Field("place"), Field("identity"), Field("begins", "day"),
        Field("backdating", "choice"), *_OFFER, Field("file", "file"),
    ),
    shape=_offers,
)  # fmt: skip
IMPORT = Act(
    "consent.forms_import", (Field("place"), Field("backdating", "choice"), Field("file", "file", label="index"), Field("documents", "file")), about=True,
)  # fmt: skip
PROPOSE = Act("consent.backdating_propose", (Field("earliest", "day"), Field("most", "number", default=100), Field("reason")), about=True)
APPROVE = Act("consent.backdating_approve", password=True)
TAKE_BACK = Act("consent.ask_take_back")


def _declined(values: dict[str, Any]) -> dict[str, Any]:
    """What the person does not agree to: one purpose towards each institution that was ticked."""
    rest = {name: value for name, value in values.items() if name not in ("purpose", "recipients")}
    return {**rest, "declined": [{"purpose": values["purpose"], "recipient": one} for one in values["recipients"]]}


REFUSED = Act(
    "consent.refusal_note", (*_WHO, Field("place"), Field("identity"), Field("purpose", "choice"), Field("recipients", "choices", label="declined")),
    shape=_declined, about=True,
)  # fmt: skip
CAPTURE_ACTS = (ASK, CAPTURE, IMPORT, REFUSED, PROPOSE)

RECEIPT = Act("consent.receipt", (*_WHO, Field("purpose", "choice"), Field("recipient", "choice"), Field("record", "number")))
ISSUE = Act(
    "consent.receipts_issue",
    (
        Field("list_id", "choice"), Field("purpose", "choice"), Field("recipient", "choice"), Field("live_only", "tick", default=True),
        Field("pages", "tick"),
    ),
)  # fmt: skip
STATUS = Act("consent.receipt_status", (Field("receipt_id"),))
RECEIPT_ACTS = (RECEIPT, ISSUE, STATUS)
DECIDE = Act("consent.decide", (Field("purpose", "choice"), Field("recipient", "choice"), Field("key_kind", "choice", ("phone", "id_no"))))
_REASON = Field("reason")
_ON_BEHALF = (Field("by", "choice", ("subject", "agent", "guardian", "kin")), Field("proof"), _REASON)
WITHDRAW = "consent.withdraw"
ERASE = Act("customers.erase", (*_WHO, *_ON_BEHALF), password=True, about=True)
CONFIRM_ERASURE = Act("customers.confirm_erasure", password=True)
TELL_AGAIN = Act("consent.tell_again", (_REASON,))
CUSTOMER_ACTS = (
    DECIDE, Act("consent.receipt", (Field("purpose", "choice"), Field("recipient", "choice"))),
    Act(WITHDRAW, (Field("purpose", "choice"), Field("recipient", "choice"), *_ON_BEHALF), password=True),
    Act("consent.opt_out", (Field("what", "choices"), _REASON)),
    Act("consent.opt_in", (Field("what", "choices"), _REASON), password=True),
    Act("consent.lift_suppression", (_REASON,), password=True),
    Act("customers.erase", _ON_BEHALF, password=True, about=True),
)  # fmt: skip
ALL_ACTS = (*CAPTURE_ACTS, TAKE_BACK, APPROVE, *RECEIPT_ACTS, *CUSTOMER_ACTS, ERASE, CONFIRM_ERASURE, TELL_AGAIN)

__all__ = ["ALL_ACTS", "APPROVE", "CAPTURE_ACTS", "CONFIRM_ERASURE", "CUSTOMER_ACTS", "ERASE", "RECEIPT_ACTS", "SIGNERS", "TAKE_BACK", "TELL_AGAIN", "WITHDRAW"]
