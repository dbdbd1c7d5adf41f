"""What an institution keeps about one customer, as values: who is asked about, and one record of the answer.

Document: docs/rights.md section 3. Pure. An answer is made for the customer and leaves this institution only in a file that
compliance hands out; it is never sent to a partner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from workbench.domain.erasure import Customer

HELD = "held"
SET_ASIDE = "set-aside"
"""In restricted storage: named with its ground and term; its values need a reason of their own (customers.restricted)."""
WAITING = "waiting"
OUTSIDE = "outside"
"""Left this node as a file: named with its owner."""


@dataclass(frozen=True, slots=True)
class SubjectRequest:
    """Whose records are asked for. case: of the request, for owners that must leave their own working record out."""

    customer: Customer
    case: str = ""


@dataclass(frozen=True, slots=True)
class SubjectRecord:
    """One record about the customer. owner: who keeps it ("lists", "consent", "evidence", …); kind: its sort.

    place: where it lies, in words of this node (list and row, job, entry), never another customer's. at_ms: since when, 0
    where nobody knows. values: every field about the customer in clear. state: HELD, SET_ASIDE, WAITING or OUTSIDE; note_zh,
    note_en: why and until when, for what is not simply held. lawful_basis: on which ground it is kept, "" where the record
    itself is required by law. provided: whether the customer gave it or it came from the customer's own acts with us.
    """

    owner: str
    kind: str
    place: str
    zh: str
    en: str
    at_ms: int = 0
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    state: str = HELD
    note_zh: str = ""
    note_en: str = ""
    lawful_basis: str = ""
    provided: bool = False


__all__ = ["HELD", "OUTSIDE", "SET_ASIDE", "WAITING", "SubjectRecord", "SubjectRequest"]
