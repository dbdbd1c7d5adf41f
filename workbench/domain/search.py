"""What can be asked of the search index over own and mirrored entries, and what it answers. Values only.

Document: docs/evidence.md, section "Search". The index holds nothing that the mirrored envelopes do not show: no
identifier and no token of a customer. Entries about a customer are named by `places`, which the node finds in its own
openings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from workbench.domain.party import PartyId

STATES = ("pending", "sealed", "full")
"""Of an entry: a required co-signature is missing; all required are there; every institution has co-signed."""

MIN_DIGEST_DIGITS = 8
COUNTED = 10_000
"""Hits are counted up to this many; beyond it "more than" is said instead of a number."""

_KEY = re.compile(r"(0|[1-9][0-9]{0,15})\.([a-z][a-z0-9-]{1,30})\.(0|[1-9][0-9]{0,15})")
_DIGEST = re.compile(r"[0-9a-f]{8,128}")


@dataclass(frozen=True, slots=True, order=True)
class PageKey:
    """Where a page of hits ends: time, log and index of its last hit. Hits are ordered by it, newest first."""

    time_ms: int
    log: PartyId
    index: int

    def __str__(self) -> str:
        return f"{self.time_ms}.{self.log}.{self.index}"


def parse_page_key(text: str) -> PageKey:
    """The inverse of str(PageKey). Raises ValueError for every other spelling."""
    found = _KEY.fullmatch(text)
    if found is None:
        raise ValueError("a page key is time, log and index with dots between them")
    return PageKey(int(found[1]), PartyId(found[2]), int(found[3]))


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """Everything that is set must hold.

    log: entries of this institution's log. kinds: names, or areas with a dot at the end; any of them. job, campaign:
    exact. jobs: any of them. actors: tokens of persons, any of them. digest: the first 8 to 128 hex digits of a leaf (SHA-256 or SM3) or
    of a digest in references and shared fields. from_ms, until_ms: first instant included, first one not. state: one
    of STATES. places: indices of own entries, any of them. before: hits after the page that ended there.
    """

    log: str = ""
    kinds: tuple[str, ...] = ()
    job: str = ""
    jobs: tuple[str, ...] = ()
    campaign: str = ""
    actors: tuple[str, ...] = ()
    digest: str = ""
    from_ms: int | None = None
    until_ms: int | None = None
    state: str = ""
    places: tuple[int, ...] | None = None
    before: PageKey | None = None
    limit: int = 50

    def __post_init__(self) -> None:
        if self.state and self.state not in STATES:
            raise ValueError(f"a state is one of {STATES}")
        if self.digest and not _DIGEST.fullmatch(self.digest):
            raise ValueError("a digest is given by its first 8 to 128 hex digits")
        if not 1 <= self.limit <= 1000:
            raise ValueError("a page has 1 to 1000 hits")


@dataclass(frozen=True, slots=True)
class SearchHit:
    """An entry that fits: where it lies and what the index knows of it. kind "": its body is no envelope."""

    log: PartyId
    index: int
    time_ms: int
    kind: str
    job: str
    actor: str
    state: str

    @property
    def key(self) -> PageKey:
        return PageKey(self.time_ms, self.log, self.index)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far the index has read one log: the first `covered` of `size` entries."""

    log: PartyId
    covered: int
    size: int

    @property
    def is_whole(self) -> bool:
        return self.covered == self.size


__all__ = [
    "COUNTED",
    "MIN_DIGEST_DIGITS",
    "STATES",
    "Coverage",
    "PageKey",
    "SearchHit",
    "SearchQuery",
    "parse_page_key",
]
