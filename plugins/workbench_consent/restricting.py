"""Customers who restrict processing, as the rule sees them: kept out while it lasts, no grant ended. docs/rights.md section 4."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from workbench_consent.columns import WithdrawalColumns
from workbench_consent.subjects import ABSENT, Subjects, words_of


def restrictions(names: Collection[str]) -> WithdrawalColumns | None:
    """Tokens in hex, of phones or of identity numbers, as entries that keep people out of everything; None for nobody.

    A name does not say what it is a token of, so each stands once as a phone and once as a number: a token of the one kind
    never equals one of the other.
    """
    if not names:
        return None
    tokens = b"".join(bytes.fromhex(name) for name in sorted(names))
    absent = ABSENT * len(names)
    size = 2 * len(names)
    everywhere = np.full(size, "", object)
    return WithdrawalColumns(
        subjects=Subjects(words_of(tokens + absent), words_of(absent + tokens)),
        seq=np.zeros(size, np.int64),
        purpose=everywhere,
        recipient=everywhere,
        keeps_out=np.ones(size, bool),
    )


__all__ = ["restrictions"]
