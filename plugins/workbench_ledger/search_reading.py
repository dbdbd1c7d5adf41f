"""What the search index takes from the body of an entry, and how a digest becomes a number. Pure.

A body is read as it lies: one that is no envelope says nothing and is counted all the same; the audit reports it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

_HEX = re.compile(r"[0-9a-f]{32,128}")
_PARTY = re.compile(r"[a-z][a-z0-9-]{1,30}")
_WORD = re.compile(r"[!-~]{1,160}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ReadEntry:
    """What the index takes from one body."""

    index: int
    time_ms: int = 0
    kind: str = ""
    job: str = ""
    actor: str = ""
    campaign: str = ""
    named: frozenset[str] = frozenset()
    subject: str = ""
    digests: frozenset[int] = frozenset()


def read_body(index: int, body: bytes) -> ReadEntry:
    """What the index takes from a body; an entry that says nothing when it is no envelope."""
    value = load(body)
    shared = value.get("shared")
    fields = shared if isinstance(shared, dict) else {}
    time_ms = _time_ms(value.get("time"))
    kind = _word_of(value.get("kind"))
    if time_ms is None or not kind:
        return ReadEntry(index)
    return ReadEntry(
        index,
        time_ms,
        kind,
        _word_of(value.get("job")),
        _word_of(value.get("actor")),
        _word_of(fields.get("campaign")),
        _parties_of(fields),
        _word_of(fields.get("party")),
        frozenset(term_of_hex(one) for one in digests_of(value)),
    )


def load(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def digests_of(value: dict[str, Any]) -> Iterator[str]:
    """Hex digests in references and shared fields: of documents, messages, contracts and other entries."""
    refs, shared = value.get("refs"), value.get("shared")
    words = [*(refs if isinstance(refs, list) else ()), *(shared.values() if isinstance(shared, dict) else ())]
    for word in words:
        last = word.rpartition(":")[2] if isinstance(word, str) else ""
        if _HEX.fullmatch(last):
            yield last


def _parties_of(fields: dict[str, Any]) -> frozenset[str]:
    """The institutions that the shared fields name as taking part (docs/protocols/evidence.md section 1)."""
    words = [fields.get("initiator"), fields.get("partner")]
    words += str(fields.get("participants", "")).split(" ")
    return frozenset(word for word in words if isinstance(word, str) and _PARTY.fullmatch(word))


def _word_of(value: object) -> str:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else ""


def _time_ms(value: object) -> int | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        found = None if moment is None else (moment - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, TypeError, OverflowError):
        return None
    return found if found is not None and found >= 0 else None


def term(digest: bytes) -> int:
    return int.from_bytes(digest[:8].ljust(8, b"\0"), "big", signed=True)


def term_of_hex(digest: str) -> int:
    return term(bytes.fromhex(digest[:16]))


def term_range(digest: str) -> tuple[int, int]:
    """The smallest and the largest number of a digest that begins so: the same sign, as 8 digits are given at least."""
    return term_of_hex(digest[:16].ljust(16, "0")), term_of_hex(digest[:16].ljust(16, "f"))


__all__ = ["ReadEntry", "digests_of", "load", "read_body", "term", "term_of_hex", "term_range"]
