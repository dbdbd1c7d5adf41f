"""Attacks of one institution on the others: an older copy with another continuation, and two histories for two partners.

They run between ledgers of all institutions in this process, filled with the true entries as this node holds them (its own
log and its mirrors), but under keys made for the moment: nothing false is ever signed with a key that anybody trusts.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.crypto import ed25519, mldsa, sm2
from workbench.domain.checkpoint import PartyKeys
from workbench.domain.envelope import build_envelope
from workbench.domain.party import PartyId
from workbench.errors import Refused, VerificationError
from workbench_ledger import schema, search_schema
from workbench_ledger.attacks.bench import Bench
from workbench_ledger.attacks.findings import GOSSIP, MIRROR, Located, Outcome
from workbench_ledger.kinds import CAUGHT_UP
from workbench_ledger.ledger import Ledger
from workbench_ledger.mirror import differing_fields

MOST_ENTRIES = 1_000
"""Of each log; the attacks happen at its end."""
_BATCH = 250
_ROUNDS = 400
LOST = 5
"""Entries written after the older copy was taken: what the attacker wants to be forgotten."""


@dataclass(frozen=True, slots=True)
class MomentKeys:
    """Co-signing keys that exist for one rehearsal."""

    ed25519: ed25519.PrivateKey = field(default_factory=ed25519.generate, repr=False)
    sm2: sm2.PrivateKey = field(default_factory=sm2.generate, repr=False)
    mldsa44: mldsa.PrivateKey | None = None


class Institutions:
    """A ledger for every institution of the project; `own` is the one that attacks."""

    def __init__(self, bench: Bench) -> None:
        host = bench.host
        self._lab, self._host, self._folder = host.laboratory, host, bench.folder
        self.own: PartyId = host.party
        self.parties: tuple[PartyId, ...] = tuple(host.parties())
        self.keys = {party: MomentKeys() for party in self.parties}
        self.pinned = {party: PartyKeys(party, one.ed25519.public, one.sm2.public) for party, one in self.keys.items()}
        self.stores: dict[PartyId, Any] = {}
        self.ledgers: dict[PartyId, Ledger] = {}
        for party in self.parties:
            self.open(party)

    @property
    def others(self) -> list[PartyId]:
        return [party for party in self.parties if party != self.own]

    def path(self, party: PartyId) -> Path:
        return self._folder / f"{party}.db"

    def open(self, party: PartyId, path: Path | None = None) -> Ledger:
        """The ledger of an institution over a file; an open one of the same institution must have been closed."""
        store = self._lab.new_store(path or self.path(party), [*schema.MIGRATIONS, *search_schema.MIGRATIONS])
        self.stores[party] = store
        self.ledgers[party] = Ledger(store, party, self.keys[party], lambda: self.pinned, self._host.now_ms, project="laboratory")
        return self.ledgers[party]

    def close(self, party: PartyId) -> None:
        self.stores.pop(party).close()

    def close_all(self) -> None:
        for party in list(self.stores):
            self.close(party)

    def fill(self, step: Callable[[int], None]) -> None:
        """The true entries of every log, and everybody's co-signatures under the keys of the moment."""
        for number, party in enumerate(self.parties):
            bodies = self._host.ledger.entry_bodies(party, 0, MOST_ENTRIES)
            for start in range(0, len(bodies), _BATCH):
                self.append(party, bodies[start : start + _BATCH])
            step(number)
        self.settle()

    def append(self, party: PartyId, bodies: Sequence[bytes]) -> None:
        ledger = self.ledgers[party]
        self.stores[party].write(lambda tx: ledger.append(tx, bodies))

    def entry(self, party: PartyId, story: str) -> bytes:
        """A well-formed entry of a log that tells some story."""
        values = {"pulled": "0", "failed": story}
        host = self._host
        body, _ = build_envelope(
            CAUGHT_UP, values, time_ms=host.now_ms(), log=party, job="", actor="", refs=(), salts=host.random
        )
        return body

    def exchange(self, origin: PartyId, witness: PartyId) -> bool:
        """Requests of one log to one mirror until nothing is left to send; whether anything was."""
        for count in range(_ROUNDS):
            request = self.ledgers[origin].next_request(witness)
            if request is None:
                return count > 0
            self.ledgers[origin].accept_reply(witness, self.ledgers[witness].witness(origin, request), request)
        raise AssertionError("the exchange does not come to rest")

    def settle(self) -> None:
        """Rounds between all, until everybody holds and has signed everything."""
        for _ in range(10):
            pairs = [(one, other) for one in self.parties for other in self.parties if one != other]
            if not sum(self.exchange(one, other) for one, other in pairs):  # all of them, not up to the first
                return
        raise AssertionError("co-signing does not come to rest")


def restored_shorter(bench: Bench) -> Outcome:
    """The database put back to an older copy, and continued with fewer entries than were signed."""
    return _restored(bench, LOST - 2)


def restored_longer(bench: Bench) -> Outcome:
    """The database put back to an older copy, and continued with more entries than were signed."""
    return _restored(bench, LOST + 3)


def _restored(bench: Bench, count: int) -> Outcome:
    with _institutions(bench) as all_of:
        own = all_of.own
        size = all_of.ledgers[own].size(own)
        older = bench.folder / "older.db"
        all_of.close(own)
        shutil.copy(all_of.path(own), older)
        all_of.open(own)
        all_of.append(own, [all_of.entry(own, f"true {number}") for number in range(LOST)])
        all_of.settle()
        all_of.close(own)
        for file in bench.folder.glob(f"{own}.db*"):
            file.unlink()
        shutil.copy(older, all_of.path(own))
        all_of.path(own).chmod(0o600)
        all_of.open(own)
        all_of.append(own, [all_of.entry(own, f"rewritten {number}") for number in range(count)])
        found = [hit for witness in all_of.others for hit in _refused(all_of, witness)]
    return Outcome(
        f"把 {own} 的数据库恢复到 {size} 条的旧副本，抹去已共签的 {LOST} 条，另写 {count} 条",
        f"put the database of {own} back to an older copy of {size} entries, losing {LOST} that were co-signed, and wrote {count} others",
        MIRROR,
        found,
    )


def _refused(all_of: Institutions, witness: PartyId) -> Iterator[Located]:
    """What a mirror says when the rewritten history is shown to it; nothing when it would sign."""
    own = all_of.own
    try:
        all_of.exchange(own, witness)
    except VerificationError as error:
        place = error.details.get("index", "")
        index, name = int(place) if place else None, error.details.get("field", "")
        yield Located(
            own,
            index,
            name,
            error.code,
            own,
            f"{witness} 拒绝共签：{own} 日志自第 {place} 条起与 {witness} 已共签的历史不同（字段 {name}）。"
            f"请 {own} 的运维人员从镜像取回原有记录，合规人员查明谁恢复了旧副本",
            f"{witness} refuses to co-sign: from entry {place} on the log of {own} differs from what {witness} co-signed (field"
            f" {name}). Operators of {own} get the true entries back from a mirror; compliance finds out who restored the copy",
        )


def split_view(bench: Bench) -> Outcome:
    """Two histories under one key: one for the first partner, another for the second."""
    if len(bench.host.parties()) < 3:
        raise Refused(
            "分叉演练需要三家机构", "A split view takes three institutions", code="TOO_FEW_INSTITUTIONS"
        )
    with _institutions(bench) as all_of:
        own, (first, second) = all_of.own, all_of.others[:2]
        size = all_of.ledgers[own].size(own)
        other_path = bench.folder / "second.db"
        all_of.close(own)
        shutil.copy(all_of.path(own), other_path)
        other_path.chmod(0o600)
        for path, witness in ((all_of.path(own), first), (other_path, second)):
            all_of.open(own, path)
            all_of.append(own, [all_of.entry(own, f"history shown to {witness}")])
            all_of.exchange(own, witness)
            all_of.close(own)
        all_of.append(first, [all_of.entry(first, "an entry like any other")])
        try:
            all_of.exchange(first, second)  # an ordinary request shows the heads that its sender holds
        except VerificationError as refused:
            if not all_of.ledgers[second].conflicts():
                raise AssertionError("the mirror refused for another reason") from refused
        found = [_split(all_of, one, size, first, second) for one in all_of.ledgers[second].conflicts()]
    return Outcome(
        f"用 {own} 的同一把密钥给 {first} 和 {second} 看了两份不同的第 {size} 条",
        f"showed {first} and {second} two different entries {size} under one key of {own}",
        GOSSIP,
        found,
    )


def _split(all_of: Institutions, conflict: Any, size: int, first: PartyId, second: PartyId) -> Located:
    held = [all_of.ledgers[witness].entry_bodies(conflict.log, size, size + 1)[0] for witness in (first, second)]
    index, name = (size, differing_fields(*held)) if held[0] != held[1] else (conflict.index, conflict.field)
    log = conflict.log
    return Located(
        log,
        index,
        name,
        conflict.problem,
        log,
        f"{log} 为 {conflict.size} 条签了两份互相矛盾的检查点：第 {index} 条的字段 {name} 在 {first} 与 {second} 处不同。两份原文已保留作为证据。"
        f"请各家合规人员比对，由 {log} 说明；在此之前不再采信该日志第 {index} 条起的记录",
        f"{log} signed two heads of {conflict.size} entries that contradict each other: field {name} of entry {index} differs between"
        f" {first} and {second}. Both heads are kept as proof. Compliance of all institutions compare them, {log} must explain;"
        f" until then nothing from entry {index} on is relied on",
    )


@contextmanager
def _institutions(bench: Bench) -> Iterator[Institutions]:
    all_of = Institutions(bench)
    try:
        total = len(all_of.parties) + 1
        all_of.fill(lambda done: bench.ctx.progress(done + 1, total, "复制各家日志", "copying all logs"))
        yield all_of
    finally:
        all_of.close_all()
