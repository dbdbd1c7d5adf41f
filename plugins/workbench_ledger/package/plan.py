"""What a package will hold, before its first byte is written: entries, their heads, who has co-signed, what is final.

Document: docs/protocols/package.md sections 1, 3 and 6. Everything is read from the ledger's tables in short snapshots
and hashed anew: an entry whose body does not lead to its signed head ends the building.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from workbench.contracts import Store
from workbench.domain.checkpoint import PartyKeys, VerifiedNote, verify_note
from workbench.domain.envelope import parse_envelope
from workbench.domain.merkle import SHA256, SM3, check_inclusion, consistency_proof, inclusion_proof
from workbench.domain.package import MAX_ENTRIES, PackageOrder, Place
from workbench.domain.party import PartyId
from workbench.domain.policy import LEAST_INSTITUTIONS
from workbench.errors import Refused, VerificationError
from workbench_ledger import tables
from workbench_ledger.policy import departures

Head = tuple[PartyId, int]
SLICE_ENTRIES = 100


@dataclass(frozen=True, slots=True)
class Planned:
    """One entry of the package without its body. head: size of the checkpoint it is proven with.

    third: only co-signatures with an ML-DSA-44 line count.
    """

    log: PartyId
    index: int
    head: int
    kind: str
    time_ms: int
    job: str
    participants: frozenset[PartyId]
    subject: str
    third: bool = False
    frame: tuple[str, str, str] | None = None
    """Of a protocol message: digest, direction, partner."""


@dataclass(slots=True)
class Plan:
    """keys: of the order. notes: verified, by log and size. pending: places that are not final, in the order of entries."""

    keys: Mapping[PartyId, PartyKeys]
    entries: list[Planned] = field(default_factory=list)
    uncovered: list[Place] = field(default_factory=list)
    notes: dict[Head, VerifiedNote] = field(default_factory=dict)
    pending: set[Place] = field(default_factory=set)
    full: int = 0
    held: dict[PartyId, int] = field(default_factory=dict)

    def missing(self, entry: Planned) -> frozenset[PartyId]:
        """Whose required co-signatures an entry lacks."""
        return self.required(entry) - self.counting(entry)

    def counting(self, entry: Planned) -> frozenset[PartyId]:
        """The signers that make an entry final: where ML-DSA-44 lines are demanded, those with one."""
        signers, found = self.signers(entry), self.notes[entry.log, entry.head].cosignatures
        return frozenset(one for one in signers if found[one].mldsa_line) if entry.third else signers

    def signers(self, entry: Planned) -> frozenset[PartyId]:
        """Who has co-signed an entry's head and is a member of its log both there and at the entry."""
        note = self.notes[entry.log, entry.head]
        return frozenset(one for one in note.cosignatures if self.keys[one].counts(entry.log, entry.index, entry.head))

    def members(self, entry: Planned) -> frozenset[PartyId]:
        """The members of its log at an entry."""
        return frozenset(party for party, one in self.keys.items() if one.is_member(entry.log, entry.index))

    def required(self, entry: Planned) -> frozenset[PartyId]:
        """Document section 6; two institutions in all are needed besides."""
        if entry.kind.startswith("ledger.member_"):
            return self.members(entry) - {entry.subject} | {entry.log}
        if entry.kind.startswith("ledger."):
            return frozenset({entry.log})
        return self._of_jobs[entry.job] if entry.job else entry.participants

    def learn_jobs(self, entries: Iterable[Planned]) -> None:
        """Which institutions take part in a job, by all entries of it that are here."""
        jobs: dict[str, set[PartyId]] = {}
        for entry in entries:
            jobs.setdefault(entry.job, set()).update(entry.participants)
        self._of_jobs = {job: frozenset(named) for job, named in jobs.items()}

    def rank(self, entry: Planned, size: int, signers: Collection[PartyId]) -> tuple[bool, bool, int, int]:
        """How much a head proves about an entry: one that seals it first, then one that all members signed (as policy.best_head)."""
        counted = frozenset(one for one in signers if one in self.keys and self.keys[one].counts(entry.log, entry.index, size))
        is_met = self.required(entry) <= counted and len(counted) >= LEAST_INSTITUTIONS
        return is_met, self.members(entry) <= counted, len(counted), size

    def settle(self) -> None:
        """Decide what is final, once all entries and notes are here; participants are those a reader of the package can see."""
        self.learn_jobs(self.entries)
        for entry in self.entries:
            if self.missing(entry) or len(self.counting(entry)) < LEAST_INSTITUTIONS:
                self.pending.add((entry.log, entry.index))
            elif self.members(entry) <= self.signers(entry):
                self.full += 1

    _of_jobs: dict[str, frozenset[PartyId]] = field(default_factory=dict)


class Shelf:
    """Reads one node's ledger for a package. own_note: makes the own checkpoint of a size when there is none."""

    def __init__(self, store: Store, party: PartyId, own_note: Callable[[int], object]) -> None:
        self._store = store
        self._party = party
        self._own_note = own_note

    def plan(self, order: PackageOrder) -> Plan:
        """Raises Refused (PACKAGE_TOO_LARGE, NOTHING_SELECTED), VerificationError for an entry that does not hold."""
        if len(order.places) > MAX_ENTRIES:
            raise Refused(
                f"选中 {len(order.places)} 条记录，一个证据包最多 {MAX_ENTRIES} 条：请缩短时段或按任务导出",
                f"{len(order.places)} entries were selected, a package holds at most {MAX_ENTRIES}: choose a shorter period, or a job",
                code="PACKAGE_TOO_LARGE",
            )
        plan = Plan(order.keys)
        logs = sorted({log for log, _ in order.places})
        gone = {log: departures(order.keys, log) for log in logs}
        seals = {log: self._seals(log, [index for owner, index in order.places if owner == log], gone[log]) for log in logs}
        thirds = {log: self._read_seals(log, gone[log], mldsa=True) for log in logs} if order.mldsa_required else {}
        plan.held = {log: size for log, (size, _) in seals.items()}
        found = []
        for (log, index), body in self.bodies(sorted(order.places)):
            found.append(_planned(log, index, body, order.mldsa_required))
            order.step(len(found))
        plan.learn_jobs(found)
        for entry in found:
            heads = [one for one in thirds[entry.log] if one[0] > entry.index] if entry.third else []
            heads = heads or [one for one in seals[entry.log][1] if one[0] > entry.index]
            head = max(heads, key=lambda one: plan.rank(entry, *one), default=None)
            if head is None:
                plan.uncovered.append((entry.log, entry.index))
            else:
                plan.entries.append(replace(entry, head=head[0]))
        if not plan.entries:
            raise Refused("没有可以导出的记录", "There is no entry to export", code="NOTHING_SELECTED")
        for log, covered in sorted({(one.log, one.head) for one in plan.entries}):
            plan.notes[log, covered] = self._note(order, log, covered)
        plan.settle()
        return plan

    def bodies(self, places: Sequence[Place]) -> Iterator[tuple[Place, bytes]]:
        """Place and body, a slice at a time, in the order given. Raises VerificationError where one is gone."""
        for start in range(0, len(places), SLICE_ENTRIES):
            part = places[start : start + SLICE_ENTRIES]
            with self._store.read() as reader:
                found = [
                    (place, tables.read_bodies(reader, place[0], place[1], place[1] + 1, own=place[0] == self._party))
                    for place in part
                ]
            for place, bodies in found:
                if not bodies:
                    raise _does_not_hold(*place)
                yield place, bodies[0]

    def proofs(self, entries: Sequence[Planned], plan: Plan) -> Iterator[tuple[Planned, list[bytes], list[bytes]]]:
        """Every entry with both paths, each checked against its body and its co-signed roots. Raises VerificationError."""
        for start in range(0, len(entries), SLICE_ENTRIES):
            part = entries[start : start + SLICE_ENTRIES]
            found = []
            with self._store.read() as reader:
                for one in part:
                    paths = [
                        inclusion_proof(tree, one.index, one.head, tables.node_lookup(reader, one.log, tree))
                        for tree in (SHA256, SM3)
                    ]
                    found.append((one, paths))
            bodies = dict(self.bodies([(one.log, one.index) for one in part]))
            for one, paths in found:
                body, head = bodies[one.log, one.index], plan.notes[one.log, one.head].checkpoint
                try:
                    for tree, path, root in zip((SHA256, SM3), paths, head.roots, strict=True):
                        leaf = tree.leaf(body)
                        check_inclusion(tree, index=one.index, size=head.size, leaf=leaf, proof=path, root=root)
                except VerificationError as error:
                    raise _does_not_hold(one.log, one.index) from error
                yield one, paths[0], paths[1]

    def consistency(self, log: PartyId, old: int, new: int) -> tuple[list[bytes], list[bytes]]:
        """Consistency paths of both trees."""
        with self._store.read() as reader:
            first, second = (
                consistency_proof(tree, old, new, tables.node_lookup(reader, log, tree)) for tree in (SHA256, SM3)
            )
        return first, second

    def _seals(self, log: PartyId, indices: Iterable[int], gone: Sequence[int]) -> tuple[int, list[tuple[int, frozenset[PartyId]]]]:
        """Entries held of a log, and size and signers of its heads; an own head is made where one is needed."""
        with self._store.read() as reader:
            size = tables.read_head(reader, log).size
        found = self._read_seals(log, gone)
        if log == self._party and max(indices) >= max((covered for covered, _ in found), default=0):
            self._own_note(size)
            found = self._read_seals(log, gone)
        return size, found

    def _read_seals(self, log: PartyId, gone: Sequence[int], *, mldsa: bool = False) -> list[tuple[int, frozenset[PartyId]]]:
        with self._store.read() as reader:
            return tables.seals(reader, log, -1, mldsa=mldsa, borders=gone)

    def _note(self, order: PackageOrder, log: PartyId, size: int) -> VerifiedNote:
        with self._store.read() as reader:
            stored = tables.read_note(reader, log, size)
        if stored is None:
            raise tables.damaged(log)
        return verify_note(stored.format(), order.keys, project=order.project)


def _planned(log: PartyId, index: int, body: bytes, mldsa_kinds: Iterable[str]) -> Planned:
    """An entry whose head is not chosen yet."""
    try:
        envelope = parse_envelope(body)
    except VerificationError as error:
        raise _does_not_hold(log, index) from error
    if envelope.log != log:
        raise _does_not_hold(log, index)
    shared = envelope.shared
    frame = None
    if envelope.kind == "intersection.message":
        frame = (shared.get("digest", ""), shared.get("direction", ""), shared.get("partner", ""))
    third = any(envelope.kind.startswith(prefix) for prefix in mldsa_kinds)
    subject = shared.get("party", "")
    return Planned(log, index, 0, envelope.kind, envelope.time_ms, envelope.job, envelope.participants, subject, third, frame)


def _does_not_hold(log: PartyId, index: int) -> VerificationError:
    return VerificationError(
        f"{log} 第 {index} 条与已签的检查点不符，没有导出：请合规人员运行审计，找出被改动的字段",
        f"entry {index} of {log} does not fit the signed heads; nothing was exported: compliance must run the audit to find what was changed",
        code="ENTRY_CHANGED",
        details={"log": log, "index": str(index)},
    )
