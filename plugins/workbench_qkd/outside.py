"""Keys of lines for sessions that begin or end outside this node's links, such as inside a leased sandbox.

Hook workbench_session_keys. The rules are those of docs/protocols/qkd-channel.md sections 3 and 4: the strictest policy among the
lines counts, a key's id is written down before the key leaves here, what is revoked ends the session before its next frame,
and nothing is ever used in a key's place. Values are handed on and never kept; everything here blocks.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, replace
from typing import Final

from workbench.channel.terms import QkdShare
from workbench.contracts import Host, KeyShare, Transaction
from workbench.domain.party import PartyId
from workbench.errors import KeyUnavailable, NotFound, Refused, WorkbenchError
from workbench_qkd import policies, sessions, taking
from workbench_qkd.choosing import Candidate, choose, first_usable, no_line
from workbench_qkd.model import counts, exhausted, stricter
from workbench_qkd.service import ChannelService, service_of

KINDS: Final = ("sandbox",)
"""What such a session can be for; the plugin's pages have a word for each."""
ENTRY_PAUSE_MS: Final = 60_000
RETRY_S: Final = 30
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9/:-]{0,119}")


@dataclass(frozen=True, slots=True)
class _Session:
    """A session as this run knows it. row: its name in the table; epoch: of its keys, -1 before the first were checked.

    checked: id of the key that the entity was asked about, renewals: as the service counted them before that key was asked for;
    next_renewals, next_provenance: likewise of the key of the exchange that is under way.
    """

    row: str
    partner: PartyId
    next_renewals: int
    next_provenance: str
    renewals: int = 0
    checked: str = ""
    epoch: int = -1


class OutsideSessions:
    """Fulfils workbench.contracts.SessionKeys and BackgroundWork; one a node."""

    name = "qkd-outside"

    def __init__(self, host: Host) -> None:
        self._host = host
        self._live: dict[str, _Session] = {}
        self._entered: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    # ------------------------------------------------------------------ with the node

    def start(self) -> None:
        """Sessions of an earlier run of the node are over: their keys were in memory only."""
        marks = ", ".join("?" for _ in KINDS)
        with self._host.store.read() as reader:
            rows = reader.execute(f"SELECT session FROM qkd_session WHERE what IN ({marks}) AND state IN ('OPEN', 'OPENING')", KINDS).fetchall()
        if not rows:
            return

        def change(tx: Transaction) -> None:
            for row in rows:
                self._end(tx, row[0], "restart")

        try:
            self._host.store.write(change)
        except WorkbenchError as error:
            self._service.host.log_fault(error)

    def stop(self) -> None:
        """Nothing runs by itself."""

    # ------------------------------------------------------------------ keys

    def serves(self, partner: PartyId) -> bool:
        """Whether a line of this site leads to the partner. Raises what the entity says when it does not answer."""
        service = self._service
        return service.is_configured and any(one.peer_site == partner for one in service.client().lines())

    def fresh(self, partner: PartyId, *, name: str, what: str, policy: str, renews: bool = False) -> KeyShare | None:
        """A key that nobody has used; None where neither the policy nor the line asks for one.

        name: of the session, the same at both ends, such as lease/sandbox/serial: a leak report and the entries about the
        line name it. Its id is written down when this returns. renews: for the session of this name that is open, on its
        own line. Raises KeyUnavailable NO_LINE, TENANT_DIFFERS, LINE_STOPPED, KEY_EXHAUSTED or what the entity says; Refused
        PROVENANCE_REFUSED, and SESSION_BROKEN where the session is over or its policy has become stricter.
        """
        service, renewals = self._service, self._service.renewals
        opened = self._nothing(name, what, policy)
        try:
            candidate, passed = self._line(partner, name, policy, renews=renews)
            opened = replace(opened, line=candidate.line.line, policy=candidate.policy, tenant=candidate.line.tenant)
            turn = service.turn(candidate.line.line)
            share = taking.fresh(service, candidate.line, candidate.policy, held=candidate.held)
        except WorkbenchError as error:
            self._refused(partner, opened, error)
            raise
        self._write(partner, name, opened, share, turn=turn, renews=renews, renewals=renewals, passed=passed)
        return KeyShare(share.key_id, share.provenance, share.value) if share is not None else None

    def named(self, partner: PartyId, key_id: str, *, name: str, what: str, policy: str, renews: bool = False) -> KeyShare:
        """The key that the partner took, from this site's entity, once. Raises KeyUnavailable QKD_KEY_REQUIRED without it, else as `fresh`."""
        service, renewals = self._service, self._service.renewals
        opened = replace(self._nothing(name, what, policy), key_id=key_id)
        try:
            line = service.client().key(key_id).line if key_id else ""
            candidate, _ = self._line(partner, name, policy, renews=renews, line=line)
            opened = replace(opened, line=candidate.line.line, policy=candidate.policy, tenant=candidate.line.tenant)
            if candidate.held or candidate.line.state == "alarm":
                raise exhausted(candidate.line.line, missing=1, retry_after_s=0, is_stopped=True)
            turn = service.turn(candidate.line.line)
            share = taking.named(service, candidate.line, key_id)
            if share is None:
                raise _not_here(candidate.line.line)
            if not counts(candidate.policy, share.provenance, self._host.setting("qkd.required_origins")):
                taking.require_counting(service, replace(candidate.line, provenance=share.provenance), candidate.policy)
        except NotFound as error:
            missing = _not_here(opened.line)
            self._refused(partner, opened, missing)
            raise missing from error
        except WorkbenchError as error:
            self._refused(partner, opened, error)
            raise
        self._write(partner, name, opened, share, turn=turn, renews=renews, renewals=renewals, passed={})
        return KeyShare(share.key_id, share.provenance, share.value)

    # ------------------------------------------------------------------ the session

    def opened(self, tx: Transaction, name: str, *, session: str, suite: str) -> None:
        """Both ends have the keys of this session, or its next epoch: table and entry, in the caller's transaction.

        session: its id in frames, kept by the caller's own entry. Raises Refused SESSION_BROKEN when people ended it meanwhile.
        """
        known = self._known(name)
        found = tx.execute("SELECT state, line, policy, key_id, next_key_id, tenant FROM qkd_session WHERE session = ?", (known.row,)).fetchone()
        state, line, policy, key_id, next_key_id, tenant = found or ("ENDED", "", "", "", "", "")
        is_renewal = state == "OPEN"
        if state not in ("OPENING", "OPEN") or (is_renewal and not next_key_id):
            raise sessions.over()
        tx.execute(
            "UPDATE qkd_session SET state = 'OPEN', suite = ?, key_id = ?, provenance = ?, next_key_id = '' WHERE session = ?",
            (suite, next_key_id if is_renewal else key_id, known.next_provenance, known.row),
        )
        values = {
            "line": line, "tenant": tenant, "session": known.row, "policy": policy, "key_id": next_key_id if is_renewal else key_id,
            "provenance": known.next_provenance,
        }  # fmt: skip
        if is_renewal:
            self._host.evidence.append(tx, "qkd.session_renewed", {**values, "epoch": str(known.epoch + 1)})
        else:
            self._host.evidence.append(tx, "qkd.session_opened", values)

    def require_live(self, name: str) -> None:
        """Return if a frame may go under this session's keys, or one that came may count.

        The first time after `opened` the entity is told what the key is for and asked whether it still counts: whoever revoked
        it before found no session, whoever revokes it later finds this one. Raises KeyUnavailable LINE_STOPPED, or what the entity
        says; Refused SESSION_BROKEN, and REKEY_REQUIRED when somebody with rights here was revoked: only a renewal helps.
        """
        known, service, host = self._known(name), self._service, self._host
        with host.store.read() as reader:
            row = reader.execute("SELECT state, line, policy, key_id, what FROM qkd_session WHERE session = ?", (known.row,)).fetchone()
            if row is None or row[0] != "OPEN":
                raise sessions.over()
            _, line, policy, key_id, what = row
            if line in policies.held(reader):
                raise exhausted(line, missing=1, retry_after_s=0, is_stopped=True)
            if policies.in_force(reader, host, line, policy) != policy:
                raise sessions.over()
        if known.partner not in host.parties():
            raise sessions.over()
        if known.checked != (key_id or known.row):
            self._check(name, known, line, key_id, what)
        elif known.renewals != service.renewals:
            raise Refused(
                "本机构有人被停用，会话须先换用新密钥", "somebody of this institution was revoked; the session takes a new key first", code="REKEY_REQUIRED"
            )

    def ended(self, tx: Transaction, name: str, *, cause: str) -> None:
        """The session is over; the same one twice is once."""
        with self._lock:
            known = self._live.pop(name, None)
        if known is not None:
            self._end(tx, known.row, cause)

    def refused(self, tx: Transaction, name: str, error: WorkbenchError) -> None:
        """The exchange for it did not come to its end: an entry; a session that was to be renewed goes on under its old key."""
        with self._lock:
            known = self._live.get(name)
        if known is None:
            return
        row = tx.execute("SELECT state, line, policy, next_key_id, tenant FROM qkd_session WHERE session = ?", (known.row,)).fetchone()
        if row is None or row[0] not in ("OPENING", "OPEN"):
            return
        if row[0] == "OPENING":
            sessions.refuse(tx, self._host, known.row, error, actor="")
            with self._lock:
                self._live.pop(name, None)
        elif row[3]:
            tx.execute("UPDATE qkd_session SET next_key_id = '' WHERE session = ?", (known.row,))
            values = {"line": row[1], "tenant": row[4], "policy": row[2], "code": error.code, "missing": error.details.get("missing", "")}
            self._host.evidence.append(tx, "qkd.session_refused", values)

    # ------------------------------------------------------------------ inside

    @property
    def _service(self) -> ChannelService:
        return service_of(self._host)

    def _known(self, name: str) -> _Session:
        with self._lock:
            known = self._live.get(name)
        if known is None:
            raise sessions.over()
        return known

    def _nothing(self, name: str, what: str, policy: str) -> sessions.Opened:
        """What an exchange is before its key. Raises ValueError for a name or a kind that is none."""
        if not _NAME.fullmatch(name) or what not in KINDS:
            raise ValueError("a session has a name of letters, digits, / : - and a kind that pages know")
        return sessions.Opened("", "", what, policy, "", "")

    def _line(self, partner: PartyId, name: str, policy: str, *, renews: bool, line: str = "") -> tuple[Candidate, dict[str, str]]:
        """The line with the policy that counts on it, and lines passed over. line: only this one will do."""
        choice = choose(self._service, partner)
        among = [replace(one, policy=stricter(policy, stricter(one.policy, choice.policy))) for one in choice.among]
        wanted = line
        if renews:
            with self._host.store.read() as reader:
                row = reader.execute("SELECT line, policy FROM qkd_session WHERE session = ? AND state = 'OPEN'", (self._known(name).row,)).fetchone()
            if row is None or wanted not in ("", row[0]):
                raise sessions.over()
            wanted = row[0]
        if not wanted:
            made = first_usable(among, self._host.setting("qkd.required_origins"))
            return made.taken, made.passed
        found = next((one for one in among if one.line.line == wanted), None)
        if found is None:
            raise no_line(partner)
        if renews and found.policy != row[1]:
            raise sessions.over()
        return found, {}

    def _write(
        self, partner: PartyId, name: str, opened: sessions.Opened, share: QkdShare | None, *, turn: int, renews: bool, renewals: int, passed: dict[str, str]
    ) -> None:
        """Write the key down as about to be used, so that revoking it ends this. turn: of the line, before the key was taken."""
        host = self._host
        key_id, provenance = (share.key_id, share.provenance) if share is not None else ("", "")

        def change(tx: Transaction) -> str:
            if self._service.turn(opened.line) != turn:
                raise sessions.over()
            if renews:
                row = self._known(name).row
                if not sessions.expect_key(tx, row, key_id):
                    raise sessions.over()
                return row
            with self._lock:
                before = self._live.get(name)
            if before is not None:
                self._end(tx, before.row, "replaced")
            taken = tx.execute("SELECT count(*) FROM qkd_session WHERE session = ? OR substr(session, 1, ?) = ?", (name, len(name) + 1, f"{name}.")).fetchone()[0]
            row = f"{name}.{taken + 1}" if taken else name
            sessions.begin(tx, host, replace(opened, session=row, key_id=key_id, provenance=provenance))
            for line, cause in passed.items():
                host.evidence.append(tx, "qkd.line_passed_over", {"line": line, "taken": opened.line, "session": row, "cause": cause})
            return row

        row = host.store.write(change)
        with self._lock:
            old = self._live.get(name) if renews else None
            under_way = replace(old, next_renewals=renewals, next_provenance=provenance) if old is not None else None
            self._live[name] = under_way or _Session(row, partner, renewals, provenance)

    def _check(self, name: str, known: _Session, line: str, key_id: str, what: str) -> None:
        """Of a key that has just come into use."""
        try:
            taking.consumed(self._service, key_id, line=line, purpose=what, reference=known.row)
            is_withdrawn = taking.is_withdrawn(self._service, key_id)
        except WorkbenchError:
            self._end_now(name, known.row, "key not checked")
            raise
        if is_withdrawn:
            self._end_now(name, known.row, "revoked")
            raise sessions.over()
        with self._lock:
            if self._live.get(name) is known:
                self._live[name] = replace(known, checked=key_id or known.row, renewals=known.next_renewals, epoch=known.epoch + 1)

    def _end_now(self, name: str, row: str, cause: str) -> None:
        with self._lock:
            self._live.pop(name, None)
        try:
            self._host.store.write(lambda tx: self._end(tx, row, cause))
        except WorkbenchError as error:
            self._service.host.log_fault(error)

    def _end(self, tx: Transaction, row: str, cause: str) -> None:
        found = tx.execute("SELECT line FROM qkd_session WHERE session = ? AND state IN ('OPEN', 'OPENING')", (row,)).fetchone()
        if found is None:
            return
        tx.execute("UPDATE qkd_session SET state = 'ENDED', ended_ms = ? WHERE session = ?", (self._host.now_ms(), row))
        self._host.evidence.append(tx, "qkd.session_ended", {"line": found[0], "session": row, "cause": cause})

    def _refused(self, partner: PartyId, opened: sessions.Opened, error: WorkbenchError) -> None:
        """Write down what was missing before there was a session: at most one entry a minute of a partner and code."""
        now, mark = self._host.now_ms(), (str(partner), error.code)
        with self._lock:
            if abs(now - self._entered.get(mark, -ENTRY_PAUSE_MS)) < ENTRY_PAUSE_MS:
                return
            self._entered[mark] = now
        row = f"S-{self._host.random(6).hex()}"

        def change(tx: Transaction) -> None:
            sessions.begin(tx, self._host, replace(opened, session=row))
            sessions.refuse(tx, self._host, row, error, actor="")

        try:
            self._host.store.write(change)
        except WorkbenchError as failure:
            self._service.host.log_fault(failure)


def keys_of(host: Host) -> OutsideSessions | None:
    """The one that this plugin gave this node; None where it could not be made."""
    return next((one for one in getattr(host, "background", ()) if isinstance(one, OutsideSessions)), None)


def _not_here(line: str) -> KeyUnavailable:
    where_zh, where_en = (f"线路 {line} 的", f" of line {line}") if line else ("", "")
    return KeyUnavailable(
        f"本站点没有{where_zh}这把密钥，不改用其他密钥。对方换一把再试",
        f"This site has no such key{where_en}; no other key is used. The other end tries again with another one",
        code="QKD_KEY_REQUIRED", details={"line": line, "missing": "1", "retry_after_s": str(RETRY_S)},
    )  # fmt: skip


__all__ = ["KINDS", "OutsideSessions", "keys_of"]
