"""Which entries of a mirrored log belong to which job: from the ledger's search index, else by reading the mirror once."""

from __future__ import annotations

import threading
from dataclasses import replace

from workbench.contracts import EvidenceIndex, Ledger
from workbench.domain.envelope import parse_envelope
from workbench.domain.party import PartyId
from workbench.domain.search import SearchQuery
from workbench.errors import VerificationError


class MirrorIndex:
    """Which entries of a mirrored log belong to which job; grows with the mirror, rebuilt at every start."""

    def __init__(self, ledger: Ledger, log: PartyId) -> None:
        self._ledger = ledger
        self._log = log
        self._size = 0
        self._by_job: dict[str, list[int]] = {}
        self._participants: dict[str, frozenset[PartyId]] = {}
        self._lock = threading.Lock()

    def entries(self, job: str) -> list[int]:
        """Indices of this job's entries, ascending: from the ledger's search index when that has read everything."""
        index = getattr(self._ledger, "index", None)
        if isinstance(index, EvidenceIndex) and index.catch_up():
            query, found = SearchQuery(log=self._log, job=job, limit=1000), list[int]()
            while hits := index.search(query):
                found += [hit.index for hit in hits]
                query = replace(query, before=hits[-1].key)
            return sorted(found)
        with self._lock:  # two readers at once would list the same entries twice
            self._grow()
            return list(self._by_job.get(job, []))

    def participants(self, job: str) -> frozenset[PartyId]:
        """The institutions that entries of this job name, that log's own included; empty for an unknown job."""
        with self._lock:
            self._grow()
            return self._participants.get(job, frozenset())

    def _grow(self) -> None:
        size = self._ledger.size(self._log)
        while self._size < size:
            stop = min(self._size + 500, size)
            for offset, body in enumerate(self._ledger.entry_bodies(self._log, self._size, stop)):
                try:
                    envelope = parse_envelope(body)
                except VerificationError:
                    continue  # a damaged copy is the audit's to report
                if envelope.job:
                    self._by_job.setdefault(envelope.job, []).append(self._size + offset)
                    known = self._participants.get(envelope.job, frozenset())
                    self._participants[envelope.job] = known | envelope.participants
            self._size = stop


__all__ = ["MirrorIndex"]
