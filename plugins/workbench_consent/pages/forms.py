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
        Field("initiative", "choice", ("staff", "customer")), Field("place"), Field("identity"), Field("begins", "day"),
        Field("backdating", "choice"), *_OFFER, Field("file", "file"),
    ),
    shape=_offers,
)  # fmt: skip
IMPORT = Act(
    "consent.forms_import", (Field("place"), Field("backdating", "choice"), Field("file", "file"), Field("documents", "file")),
)  # fmt: skip
PROPOSE = Act("consent.backdating_propose", (Field("earliest", "day"), Field("most", "number", default=100), Field("reason")))
APPROVE = Act("consent.backdating_approve", password=True)
TAKE_BACK = Act("consent.ask_take_back", (Field("ask"),))
CAPTURE_ACTS = (ASK, CAPTURE, IMPORT, PROPOSE, TAKE_BACK)

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
CUSTOMER_ACTS = (DECIDE, Act("consent.receipt", (Field("purpose", "choice"), Field("recipient", "choice"))))
ALL_ACTS = (*CAPTURE_ACTS, APPROVE, *RECEIPT_ACTS, *CUSTOMER_ACTS)

__all__ = ["ALL_ACTS", "APPROVE", "CAPTURE_ACTS", "CUSTOMER_ACTS", "RECEIPT_ACTS", "SIGNERS"]
