"""What a decision rests on besides grants and withdrawals: notices, uses, refusals. Document: docs/consent.md section 5.

Read from the store and kept until something moves: the newest consent event for notices and refusals, the number of spent
snapshots for uses. The rule itself knows none of this module.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from workbench.contracts import GrantQuery, Host
from workbench.intake import FormRules, LineScope, NoticeScope
from workbench_consent import refusing, tables
from workbench_consent.columns import GrantColumns, Refusals, Term, WithdrawalColumns
from workbench_consent.grants import Reason, StaleSince, Withdrawal
from workbench_consent.notices import published
from workbench_consent.subjects import Flags, Rows

SlowRefusals = Sequence[tuple[Reason, Sequence[Sequence[Withdrawal]]]]


@dataclass(frozen=True, slots=True)
class _Told:
    """As of one consent event: what later versions made stale, and who refused what."""

    seq: int
    stale: StaleSince
    refused: Mapping[str, list[Withdrawal]]
    columns: Mapping[str, WithdrawalColumns]


@dataclass(slots=True)
class _Uses:
    """Of grants with a largest number of uses: in how many jobs each was used, and by which jobs.

    stamp: what it was counted from. limited: rows; limit, count: per limited row; by_job: job -> used flags, packed.
    """

    stamp: tuple[int, int, int]
    limited: Rows
    limit: Rows
    count: Rows
    by_job: dict[str, bytes] = field(default_factory=dict)


class Circumstances:
    """Of one node."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._told = _Told(-1, {}, {}, {})
        self._uses: _Uses | None = None

    def stale(self, seq: int) -> StaleSince:
        """What published versions made stale; seq: the newest consent event, for what is kept."""
        return self._as_of(seq).stale

    def refusals(self, seq: int, query: GrantQuery) -> Refusals:
        """Who refused what this query is about, for the fast rule."""
        told = self._as_of(seq)
        nobody = WithdrawalColumns.empty()
        return [(why, [told.columns.get(one, nobody) for one in group]) for why, group in self._groups(query)]

    def slow_refusals(self, seq: int, query: GrantQuery) -> SlowRefusals:
        """The same for one person."""
        told = self._as_of(seq)
        return [(why, [told.refused.get(one, []) for one in group]) for why, group in self._groups(query)]

    def used_up(self, grants: GrantColumns, terms: Sequence[Term], erasure: int, job: str) -> Flags | None:
        """(grants) flags of those that served in as many jobs as they may, besides `job`; None where no grant has a limit."""
        limits = np.array([term.conditions.max_uses for term in terms], np.int64)
        if not limits.any() or not len(grants):
            return None
        uses = self._counted(grants, limits, erasure)
        count = uses.count
        if job in uses.by_job:
            count = count - _unpacked(uses.by_job[job], len(uses.limited))
        flags = np.zeros(len(grants), bool)
        flags[uses.limited[count >= uses.limit]] = True
        return flags

    def form_rules(self, processors: Sequence[str]) -> FormRules:
        """What an imported form may say, by today's settings and published notices."""
        setting = self._host.setting
        with self._host.store.read() as reader:
            versions = published.all_versions(reader, states=published.IN_FORCE)
        return FormRules(
            categories={code: (words[0], words[1]) for code, words in setting("consent.categories").items()},
            contacts={code: (words[0], words[1]) for code, words in setting("consent.channels").items()},
            methods={code: (words[0], words[1]) for code, words in setting("consent.methods").items()},
            notices={
                one.notice.name: NoticeScope(
                    {(line.purpose, line.recipient): LineScope(line.categories, line.channels) for line in one.notice.lines},
                    one.notice.effective_ms,
                    one.retired_ms,
                )
                for one in versions
            },
            notice_required=bool(setting("consent.notice_required")),
            processors=frozenset(processors),
            representative_required=bool(setting("consent.representative_required")),
        )

    def notice_digests(self) -> dict[str, str]:
        """key@version -> digest in hex, of every version that was published."""
        with self._host.store.read() as reader:
            versions = published.all_versions(reader, states=published.IN_FORCE)
        return {one.notice.name: one.digest.hex() for one in versions}

    def _groups(self, query: GrantQuery) -> list[tuple[Reason, list[str]]]:
        setting = self._host.setting
        return list(
            refusing.groups_asked(query, channels=setting("consent.channels"), profiled=setting("consent.profiled_purposes"))
        )

    def _as_of(self, seq: int) -> _Told:
        with self._lock:
            if self._told.seq != seq:
                with self._host.store.read() as reader:
                    versions = published.all_versions(reader, states=published.IN_FORCE)
                    refused = refusing.in_force(reader)
                stale = {f"{key}@{version}": steps for (key, version), steps in published.stale_since(versions).items()}
                self._told = _Told(seq, stale, refused, {what: refusing.as_columns(one) for what, one in refused.items()})
            return self._told

    def _counted(self, grants: GrantColumns, limits: Rows, erasure: int) -> _Uses:
        with self._lock, self._host.store.read() as reader:
            spent = _spent(reader)
            stamp = (len(grants), erasure, spent)
            if self._uses is None or self._uses.stamp != stamp:
                limited = np.flatnonzero(limits[grants.term] > 0)
                uses = _Uses(stamp, limited, limits[grants.term[limited]], np.zeros(len(limited), np.int64))
                for job, packed in reader.execute(
                    "SELECT s.job, u.records FROM consent_snapshot s JOIN consent_receipt_use u ON u.snapshot = s.snapshot"
                    " WHERE s.used_at_ms IS NOT NULL"
                ):
                    bits = np.unpackbits(np.frombuffer(zlib.decompress(packed), np.uint8)).astype(bool)
                    used = np.zeros(len(limited), bool)
                    known = limited < len(bits)
                    used[known] = bits[limited[known]]
                    if job in uses.by_job:  # several attempts of one job are one use
                        used |= _unpacked(uses.by_job[job], len(limited))
                    uses.by_job[job] = np.packbits(used).tobytes()
                for packed in uses.by_job.values():
                    uses.count += _unpacked(packed, len(limited))
                self._uses = uses
            return self._uses


def _spent(reader: tables.Reader) -> int:
    return int(reader.execute("SELECT count(*) FROM consent_snapshot WHERE used_at_ms IS NOT NULL").fetchone()[0])


def _unpacked(packed: bytes, count: int) -> Flags:
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=count).astype(bool)


__all__ = ["Circumstances"]
