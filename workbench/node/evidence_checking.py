"""Checks of single entries and of one job: body, leaf, root, co-signatures, and what other institutions hold.

Document: docs/protocols/evidence.md sections 3 to 5 and 11. Everything is computed anew from the body as it lies; stored
hashes only say which link of the chain breaks. Whoever may read an entry may check it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import Field

from workbench.contracts import OperationContext
from workbench.domain.checkpoint import VerifiedNote, verify_note
from workbench.domain.envelope import Envelope, format_time, parse_envelope
from workbench.domain.evidence import EntryProof, HeadConflict, SealState
from workbench.domain.merkle import SHA256, SM3, TreeHash, check_inclusion
from workbench.domain.party import PartyId
from workbench.errors import Cancelled, NotFound, VerificationError, WorkbenchError
from workbench.node.counterparts import MissingCounterpart, missing_counterparts
from workbench.node.links import bodies_of
from workbench.operations import Reply, Request

if TYPE_CHECKING:
    from workbench.host import Workbench

MAX_COMPARED = 3
"""Changed entries of which an answer shows every field; the others are named only."""

PROBLEMS = ("EDITED", "DELETED", "TREE", "SIGNATURE")


class SignatureInfo(Reply):
    """One institution's co-signature of the head that covers an entry; time_ms is None when it is missing."""

    party: str
    valid: bool
    time_ms: int | None


class DifferenceRow(Reply):
    """One member or field of an entry, here and as co-signed; None when that copy lacks it or cannot be read.

    visibility: "shared", "committed" (then both values are commitments) or "" for members of the envelope.
    """

    name: str
    zh: str
    en: str
    visibility: str
    here: str | None
    cosigned: str | None


class Comparison(Reply):
    """An entry beside the copies of other institutions.

    copies: party to "cosigned" (its copy leads to the co-signed root), "same" (as here, not co-signed), "other" or
    "absent". proven: a copy was found that leads to the co-signed root; rows compare with that one.
    """

    log: str
    index: int
    kind: str
    zh: str
    en: str
    copies: dict[str, str]
    proven: bool
    rows: list[DifferenceRow]


class EntryProblem(Reply):
    """An entry that does not hold: one of PROBLEMS."""

    log: str
    index: int
    problem: str


class ConflictInfo(Reply):
    """Two signed heads of one log that contradict each other, as C2SP signed notes; held is "" when none was signed."""

    log: str
    size: int
    found_ms: int
    problem: str
    index: int | None
    field: str
    held: str
    offered: str


class LogCheck(Reply):
    """One log's part in a job: how many entries, up to which head, who has signed it, whose signature is required."""

    log: str
    entries: int
    size: int
    signatures: list[SignatureInfo]
    required: list[str]


class JobCheckRequest(Request):
    job: str = Field(min_length=1, max_length=64)


class JobCheckReply(Reply):
    """checked = agree + changed + pending. pending: agree with nothing signed yet, or lack a required signature.

    without_values: entries of other institutions, of which this node holds commitments instead of some values.
    conflicts: contradicting signed heads of the logs the job lies in. missing: frames that one side recorded and the
    other did not, each with who must act.
    """

    job: str
    now_ms: int
    checked: int
    agree: int
    changed: int
    pending: int
    without_values: int
    logs: list[LogCheck]
    problems: list[EntryProblem]
    comparisons: list[Comparison]
    conflicts: list[ConflictInfo] = []
    missing: list[MissingCounterpart] = []


@dataclass(frozen=True, slots=True)
class Checked:
    """One entry after its check. problem: "" or one of PROBLEMS; proof and note are None when no head covers it."""

    log: PartyId
    index: int
    body: bytes
    leaf: bytes
    stored_leaf: bytes
    problem: str
    proof: EntryProof | None
    note: VerifiedNote | None

    @property
    def signers(self) -> frozenset[PartyId]:
        return frozenset(self.note.cosignatures) if self.note else frozenset()


@dataclass(slots=True)
class Checker:
    """Checks entries of one node; a head that covers many of them is verified once."""

    host: Workbench
    _notes: dict[str, VerifiedNote | None] = field(default_factory=dict)

    def check(self, log: PartyId, index: int) -> Checked:
        """Compute body to leaf to root to signatures anew. Raises NotFound for an entry this node never held."""
        ledger = self.host.ledger
        # An entry that is written between two reads is neither deleted nor edited: the leaf comes before its body, and again
        # where it was not there yet.
        stored = ledger.leaves(log, index, index + 1)
        bodies = ledger.entry_bodies(log, index, index + 1)
        if bodies and not stored:
            stored = ledger.leaves(log, index, index + 1)
        if not bodies and not stored:
            raise NotFound(f"没有 {log} 的第 {index} 条", f"There is no entry {index} of {log}", code="NO_SUCH_ENTRY")
        body = bodies[0] if bodies else b""
        leaves = (SHA256.leaf(body), SM3.leaf(body))
        kept = stored[0] if stored else (b"", b"")
        problem = "DELETED" if not bodies else ""
        proof, note = None, None
        try:
            proof = ledger.proof(log, index)
            note = self._note(proof.note)
            if note is None:
                problem = problem or "SIGNATURE"
            elif not problem and not _leads(proof, index, leaves, note):
                problem = "EDITED" if leaves != kept and _leads(proof, index, kept, note) else "TREE"
        except NotFound:
            pass  # not covered by any head yet
        except VerificationError:
            problem = problem or "TREE"
        if not problem and leaves != kept:
            problem = "EDITED"
        return Checked(log, index, body, leaves[0], kept[0], problem, proof, note)

    def compare(self, checked: Checked) -> Comparison:
        """Ask the other institutions for their copies, and set the co-signed one beside what lies here."""
        host = self.host
        copies: dict[str, str] = {}
        proven: bytes | None = None
        for party, copy in self._copies(checked.log, checked.index).items():
            if copy is None:
                copies[party] = "absent"
            elif self._is_cosigned(checked, copy):
                copies[party] = "cosigned"
                proven = copy
            else:
                copies[party] = "same" if copy == checked.body else "other"
        kind = _kind_of(proven if proven is not None else checked.body)
        known = host.kinds.get(kind)
        return Comparison(
            log=checked.log,
            index=checked.index,
            kind=kind,
            zh=known.zh if known else kind,
            en=known.en if known else kind,
            copies=copies,
            proven=proven is not None,
            rows=[] if proven is None else difference_rows(checked.body, proven, known),
        )

    def _copies(self, log: PartyId, index: int) -> dict[str, bytes | None]:
        """The body as every other institution that should hold it gives it; None when it gives none."""
        host = self.host
        holders = [one for one in host.parties() if one != host.party] if log == host.party else [log]
        copies: dict[str, bytes | None] = {}
        for party in holders:
            try:
                copies[party] = next(iter(bodies_of(host.links, party, log, index, index + 1, timeout_s=5.0)), None)
            except WorkbenchError:
                copies[party] = None  # an absent or malformed answer proves nothing, either way
        return copies

    def _is_cosigned(self, checked: Checked, copy: bytes) -> bool:
        if checked.proof is None or checked.note is None:
            return False
        return _leads(checked.proof, checked.index, (SHA256.leaf(copy), SM3.leaf(copy)), checked.note)

    def _note(self, text: str) -> VerifiedNote | None:
        if text not in self._notes:
            try:
                self._notes[text] = verify_note(text, self.host.trust_keys(), project=self.host.project)
            except VerificationError:
                self._notes[text] = None
        return self._notes[text]

    def signatures(self, checked: Checked) -> list[SignatureInfo]:
        """One row an institution, in their order."""
        found = checked.note.cosignatures if checked.note else {}
        return [
            SignatureInfo(
                party=party, valid=party in found, time_ms=found[party].time_s * 1000 if party in found else None
            )
            for party in self.host.parties()
        ]


def difference_rows(here: bytes, cosigned: bytes, kind: Any) -> list[DifferenceRow]:
    """Every member and field of two bodies of one entry, members first. kind: what explains the fields, or None."""
    mine, theirs = _readable(here), _readable(cosigned)
    names = {one.name: one for one in kind.fields} if kind else {}
    rows = []
    for name, zh, en in _MEMBERS:
        rows.append(_row(name, zh, en, "", mine.get(name), theirs.get(name)))
    left = [name for name in {**theirs, **mine} if name.startswith(("shared:", "committed:"))]
    ordered = sorted(left, key=lambda name: (list(names).index(_bare(name)) if _bare(name) in names else 99, name))
    for name in ordered:
        visibility, _, bare = name.partition(":")
        known = names.get(bare)
        rows.append(
            _row(bare, known.zh if known else bare, known.en if known else bare, visibility, mine.get(name), theirs.get(name))
        )
    return rows


def check_job(ctx: OperationContext, job: str, places: Iterable[tuple[PartyId, int]]) -> JobCheckReply:
    """Check entries of one job; places: those this person may see. Cost: about 2 ms an entry."""
    host = ctx.host
    checker = Checker(host)
    problems: list[EntryProblem] = []
    comparisons: list[Comparison] = []
    by_log: dict[PartyId, list[Checked]] = {}
    seals: dict[tuple[PartyId, int], SealState] = {}
    for log, index in places:
        if ctx.cancelled():
            raise Cancelled("核对已停止", "the check was stopped")
        # Before the check: co-signatures that come meanwhile make the entry better than said, never worse.
        seals[log, index] = host.ledger.seal(log, index)
        try:
            by_log.setdefault(log, []).append(checker.check(log, index))
        except NotFound:
            continue
    everyone = [one for many in by_log.values() for one in many]
    required = {
        log: sorted({party for one in many for party in seals[one.log, one.index].required}) for log, many in by_log.items()
    }
    for one in everyone:
        if one.problem:
            problems.append(EntryProblem(log=one.log, index=one.index, problem=one.problem))
            if len(comparisons) < MAX_COMPARED and one.problem in ("EDITED", "DELETED"):
                comparisons.append(checker.compare(one))
    pending = sum(1 for one in everyone if not one.problem and seals[one.log, one.index].state == "PENDING")
    return JobCheckReply(
        job=job,
        now_ms=host.now_ms(),
        checked=len(everyone),
        agree=len(everyone) - len(problems) - pending,
        changed=len(problems),
        pending=pending,
        without_values=sum(1 for one in everyone if one.log != host.party and _has_commitments(one.body)),
        logs=[_log_check(checker, log, many, required[log]) for log, many in sorted(by_log.items())],
        problems=problems,
        comparisons=comparisons,
        conflicts=[conflict_info(one) for one in host.ledger.conflicts() if one.log in by_log],
        missing=missing_counterparts(host, job),
    )


def conflict_info(one: HeadConflict) -> ConflictInfo:
    """Two contradicting heads as they are shown to everyone."""
    return ConflictInfo(
        log=one.log, size=one.size, found_ms=one.found_ms, problem=one.problem, index=one.index, field=one.field,
        held=one.held_note, offered=one.offered_note,
    )  # fmt: skip


def _log_check(checker: Checker, log: PartyId, many: list[Checked], required: list[PartyId]) -> LogCheck:
    """Described by the weakest entry: the one whose head has the fewest signatures."""
    weakest = min(many, key=lambda one: (len(one.signers), -one.index))
    return LogCheck(
        log=log,
        entries=len(many),
        size=weakest.proof.size if weakest.proof else 0,
        signatures=checker.signatures(weakest),
        required=list(required),
    )


def _leads(proof: EntryProof, index: int, leaves: tuple[bytes, bytes], note: VerifiedNote) -> bool:
    """Whether both leaves lead to the roots that were signed."""
    pairs: tuple[tuple[TreeHash, bytes, tuple[bytes, ...], bytes], ...] = (
        (SHA256, leaves[0], proof.sha256_path, note.checkpoint.roots[0]),
        (SM3, leaves[1], proof.sm3_path, note.checkpoint.roots[1]),
    )
    try:
        for tree, leaf, path, root in pairs:
            check_inclusion(tree, index=index, size=note.checkpoint.size, leaf=leaf, proof=path, root=root)
    except VerificationError:
        return False
    return True


_MEMBERS = (
    ("kind", "种类", "kind"),
    ("time", "时间", "time"),
    ("job", "任务", "job"),
    ("actor", "经办人代号", "token of the person"),
    ("refs", "引用", "references"),
)


def _readable(body: bytes) -> dict[str, str]:
    """Members and fields of a body by name ("shared:…", "committed:…"); empty when it is no envelope."""
    try:
        envelope = parse_envelope(body)
    except VerificationError:
        return _salvaged(body)
    return _flat(envelope)


def _flat(envelope: Envelope) -> dict[str, str]:
    return {
        "kind": envelope.kind,
        "time": format_time(envelope.time_ms),
        "job": envelope.job,
        "actor": envelope.actor,
        "refs": " ".join(envelope.refs),
        **{f"shared:{name}": value for name, value in envelope.shared.items()},
        **{f"committed:{name}": value.hex() for name, value in envelope.committed.items()},
    }


def _salvaged(body: bytes) -> dict[str, str]:
    """What can still be read of a body that is no envelope any more: only to show where it was changed."""
    try:
        value = json.loads(body)
        found = {name: str(value[name]) for name in ("kind", "time", "job", "actor") if name in value}
        found["refs"] = " ".join(str(one) for one in value.get("refs", []))
        for part in ("shared", "committed"):
            found |= {f"{part}:{name}": str(one) for name, one in dict(value.get(part, {})).items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
    return {name: text[:200] for name, text in found.items()}


def _row(name: str, zh: str, en: str, visibility: str, here: str | None, cosigned: str | None) -> DifferenceRow:
    return DifferenceRow(name=name, zh=zh, en=en, visibility=visibility, here=here, cosigned=cosigned)


def _bare(name: str) -> str:
    return name.partition(":")[2]


def _kind_of(body: bytes) -> str:
    return _readable(body).get("kind", "")


def _has_commitments(body: bytes) -> bool:
    values: Mapping[str, str] = _readable(body)
    return any(name.startswith("committed:") for name in values)


__all__ = [
    "Checked",
    "Checker",
    "Comparison",
    "ConflictInfo",
    "EntryProblem",
    "JobCheckReply",
    "JobCheckRequest",
    "LogCheck",
    "SignatureInfo",
    "check_job",
    "conflict_info",
    "difference_rows",
]
