"""The contract of one attempt, signed by both institutions; its digest enters every hash, message and entry.

Document: docs/protocols/intersection.md. Terms are agreed once by people; the contract adds what is fresh in each
attempt (decisions 7 and 15).
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench.crypto import canonical, sm3
from workbench.domain.intersection import Offer, Terms
from workbench.domain.party import PartyId


@dataclass(frozen=True, slots=True)
class Contract:
    """Terms plus the attempt's number, times and both sides' offers.

    cut_off_ms: after this instant (milliseconds since 1970 UTC) the attempt is void; the last check happens before it.
    """

    terms: Terms
    attempt: int
    started_ms: int
    cut_off_ms: int
    initiator: Offer
    partner: Offer

    def canonical(self) -> bytes:
        """RFC 8785 text, every value a string or an object of strings."""
        return canonical.format(
            {
                "v": "workbench/v1/contract",
                "terms": terms_digest(self.terms).hex(),
                "attempt": str(self.attempt),
                "started_ms": str(self.started_ms),
                "cut_off_ms": str(self.cut_off_ms),
                "initiator": self.initiator.as_json(),
                "partner": self.partner.as_json(),
            }
        )

    def digest(self) -> bytes:
        """SM3 of the canonical text, 32 bytes."""
        return sm3.digest(self.canonical())


def terms_digest(terms: Terms) -> bytes:
    """SM3 of the canonical text of the terms, 32 bytes."""
    return sm3.digest(canonical.format(terms.as_json()))


def contract_signing_bytes(contract: Contract, signer: PartyId) -> bytes:
    """What a party's contract key signs: prefix, party, job, and the whole contract."""
    head = f"workbench/v1/contract\n{signer}\n{contract.terms.job}\n"
    return head.encode() + contract.canonical()
