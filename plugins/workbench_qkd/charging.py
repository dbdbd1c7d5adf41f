"""Charge keys 充注密钥 of staff's media: filled, used for session keys, revoked. Document: docs/quantum-channel.md section 11.

The node holds no charge key and no session key. A person is a token towards the entity and in entries. A revocation begins
here, with what this node can end by itself, and is asked of the entity until that has destroyed the mirrors.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from workbench.contracts import HealthReport, Host, OperationContext, Transaction
from workbench.domain.party import Person, Role
from workbench.errors import Denied, InvalidRequest, KeyUnavailable, NotFound, Refused, WorkbenchError
from workbench.operations import NoInput, Operation
from workbench_kme.service import views
from workbench_qkd import charge_restoring, policies, sessions, taking, tenants
from workbench_qkd.charge_messages import (
    ChargeInfo,
    ChargesReply,
    DeliverReply,
    DeliverRequest,
    FillReply,
    FillRequest,
    MediumName,
    RevokeHolderReply,
    RevokeHolderRequest,
)
from workbench_qkd.model import exhausted
from workbench_qkd.operations import OPERATORS, READERS
from workbench_qkd.service import ChannelService, Management, service_of

WHAT: Final = "charge"
CHANNEL: Final = "channel"
"""What sessions are for that carry the calls of nodes: nobody's own, and under fresh keys once a person was revoked."""
SUITE: Final = "SM4-GCM"
LEAST_PAUSE_S: Final = 0.2
LEFT_ALONE_MS: Final = 5_000
QUIET_ROUNDS: Final = 15
_settling = threading.Lock()
"""One revocation at a time is asked of an entity: whoever began it tells what it did, the thread that follows only repeats it."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """One that the entity has yet to confirm. person: token, "" for whoever has the device; device: "" for all of the person's."""

    number: int
    person: str
    device: str
    actor: str
    asked_ms: int

    def covers(self, person: str, device: str) -> bool:
        """Whether it is about this medium."""
        return self.person in ("", person) and self.device in ("", device)


# ---------------------------------------------------------------- looking


def status(ctx: OperationContext, _request: Any) -> ChargesReply:
    """Every pool, with whose it is as long as this node knows."""
    waiting = _waiting(ctx.host)
    infos = _infos(ctx.host, service_of(ctx.host).client().charges(), waiting)
    return ChargesReply(pools=infos, waiting=len(waiting))


def _infos(host: Any, pools: Iterable[views.ChargePool], waiting: Sequence[Revocation]) -> list[ChargeInfo]:  # Any: the node
    named = host.people.names()
    active: dict[str, Person] = {one.token: one for one in host.people.everyone()}
    made = []
    for one in pools:
        account, name = named.get(one.person, ("", ""))
        person = active.get(one.person)
        is_going = any(each.covers(one.person, one.device) for each in waiting)
        made.append(
            ChargeInfo(
                person=one.person, account=account, name=name, roles=sorted(role.value for role in person.roles) if person else [],
                is_disabled=bool(account) and person is None, device=one.device, line=one.line, left=one.count, low_water=one.low_water,
                last_counter=one.last_counter, live=one.live, per_day=one.per_day, days_left=one.days_left, state=_state(one, is_going),
            )
        )  # fmt: skip
    return made


def _state(one: views.ChargePool, is_going: bool) -> str:
    if one.revoked:
        return "REVOKED"
    if is_going:
        return "REVOKING"
    return "EMPTY" if not one.count else "LOW" if one.low else "OPEN"


def reports(service: ChannelService) -> list[HealthReport]:
    """Lines of the health page: pools below their mark, revocations that wait for the entity. Nothing where all is well."""
    made = []
    waiting = _waiting(service.host)
    if waiting:
        made.append(
            HealthReport(
                "qkd.charge", "failed", f"{len(waiting)} 项吊销还没有得到密钥管理实体确认，节点继续重试；运维查实体",
                f"{len(waiting)} revocations are not confirmed by the key-management entity yet; the node goes on asking, operations check the entity",
            )
        )  # fmt: skip
    try:
        low = [one for one in service.client().charges() if one.low and not one.revoked] if service.is_configured else []
    except WorkbenchError:
        return made  # the line of the entity says it
    if low:
        made.append(
            HealthReport("qkd.charge_low", "warning", f"{len(low)} 件介质的充注密钥低于低水位，请重新充注", f"{len(low)} media are below their low-water mark of charge keys; fill them")
        )
    return made


# ---------------------------------------------------------------- filling and delivering


def fill(ctx: OperationContext, request: FillRequest) -> FillReply:
    """Fresh charge keys for a medium, in place of what it had left; the file is taken once, by whoever asked for it."""
    host, client = ctx.host, service_of(ctx.host).client()
    person = _active(host, request.person)
    client.line(request.line)
    _require_not_revoking(host, person.token, request.device)
    before = _pool(client, person.token, request)
    made = client.fill_charges(
        person=person.token, device=request.device, line=request.line, count=request.count, low_water=request.low_water,
        after=before.last_counter if before else 0, passphrase=request.passphrase,
    )  # fmt: skip
    name = f"medium-{request.device}.json"
    values = _of(request, person.token) | {"keys": str(request.count), "replaced": str(made.replaced), "first": str(made.first)}

    def change(tx: Transaction) -> str:
        host.evidence.append(tx, "qkd.charge_filled", values, actor=ctx.caller.person.token)
        return host.downloads.offer(tx, ctx.caller, name, made.medium.encode("ascii"))

    download = host.store.write(change)
    (pool,) = _infos(host, [made.pool], ())
    return FillReply(pool=pool, replaced=made.replaced, first=made.first, download=download, name=name)


def deliver(ctx: OperationContext, request: DeliverRequest) -> DeliverReply:
    """A fresh key of the line as the medium's session key; sessions that it had end with it."""
    host, service = ctx.host, service_of(ctx.host)
    client, person = service.client(), _active(ctx.host, request.person)
    line = client.line(request.line)
    policy = _require_usable(service, line)
    _require_not_revoking(host, person.token, request.device)
    slave = request.slave or taking.far_application(line)
    if slave not in line.peer_saes:
        raise NotFound("对端站点没有这个应用", "The far site has no such application", code="SAE_UNKNOWN")
    master = _sae(service, line.line)
    try:
        with service.measures.asking(request.line):
            made = client.deliver_under_charge(
                person=person.token, device=request.device, line=request.line, sae=master, slave=slave, origins=taking.origins(service, policy)
            )
    except KeyUnavailable as error:
        if error.code != "EXHAUSTED":
            raise
        raise taking.short(request.line, error) from error
    session, name = session_name(made.session_key_id), f"session-{request.device}-{made.counter}.key"
    opened = sessions.Opened(session, request.line, WHAT, policy, made.session_key_id, made.provenance, line.tenant)
    values = _of(request, person.token) | {
        "tenant": line.tenant, "counter": str(made.counter), "charge_key_id": made.charge_key_id, "session": session, "key_id": made.session_key_id, "provenance": made.provenance
    }  # fmt: skip

    def change(tx: Transaction) -> str:
        _end(tx, host, _live(tx, person.token, request.device, line=request.line), cause="renewed")
        sessions.begin(tx, host, opened)
        tx.execute("UPDATE qkd_session SET state = 'OPEN', suite = ? WHERE session = ?", (SUITE, session))
        tx.execute(
            "INSERT INTO qkd_charge_session (session, line, person, device, key_id) VALUES (?, ?, ?, ?, ?)",
            (session, request.line, person.token, request.device, made.session_key_id),
        )
        host.evidence.append(tx, "qkd.charge_delivered", values, actor=ctx.caller.person.token)
        if made.left in (made.low_water - 1, 0):
            told = _of(request, person.token) | {"left": str(made.left), "low_water": str(made.low_water)}
            host.evidence.append(tx, "qkd.charge_low", told, actor=ctx.caller.person.token)
        return host.downloads.offer(tx, ctx.caller, name, bytes.fromhex(made.sealed))

    download = host.store.write(change)
    return DeliverReply(
        session=session, line=request.line, counter=made.counter, charge_key_id=made.charge_key_id, key_id=made.session_key_id,
        provenance=made.provenance, master=master, slave=slave, left=made.left, low=made.low, sealed=made.sealed, download=download, name=name,
    )  # fmt: skip


def session_name(key_id: str) -> str:
    """Of the session of a session key, as the list of sessions has it."""
    return f"C-{key_id.replace('-', '')[:16]}"


def _require_usable(service: ChannelService, line: views.Line) -> str:
    """The policy of a line whose keys may begin a session now. Raises as `taking.fresh`."""
    tenants.check(service.host, line)
    with service.host.store.read() as reader:
        policy = policies.in_force(reader, service.host, line.line, line.policy)
        is_held = line.line in policies.held(reader)
    if is_held or line.state == "alarm":
        raise exhausted(line.line, missing=1, retry_after_s=0, is_stopped=True)
    taking.require_counting(service, line, policy)
    return policy


def _sae(service: ChannelService, line: str) -> str:
    keys, sae = service.keys(line)
    keys.close()
    return sae


def _pool(client: Management, token: str, request: MediumName) -> views.ChargePool | None:
    wanted = (token, request.device, request.line)
    return next((one for one in client.charges() if (one.person, one.device, one.line) == wanted), None)


def _of(request: MediumName, token: str) -> dict[str, str]:
    return {"line": request.line, "person": token, "device": request.device}


def _active(host: Any, account: str) -> Person:  # Any: the node
    found: Person | None = next((one for one in host.people.everyone() if one.person == account), None)
    if found is None:
        raise NotFound(
            "没有这个账号，或已停用、待确认", "There is no such account, or it is disabled or waits to be confirmed", code="NO_SUCH_ACCOUNT"
        )
    return found


def _require_not_revoking(host: Any, token: str, device: str) -> None:  # Any: the node
    if any(one.covers(token, device) for one in _waiting(host)):
        raise Refused(
            f"介质 {device} 正在吊销，不再充注或投递", f"Medium {device} is being revoked: it is neither filled nor given a session key", code="CHARGE_REVOKED"
        )


# ---------------------------------------------------------------- revoking


def revoke(ctx: OperationContext, request: RevokeHolderRequest) -> RevokeHolderReply:
    """One act: sign-ins, sessions, charge keys, and for an administrator who asks for it the account itself."""
    began = time.monotonic()
    host, service = ctx.host, service_of(ctx.host)
    if not request.person and not request.device:
        raise InvalidRequest("请给出人员或介质", "give a person or a medium")
    if not service.is_configured:
        service.client()  # raises NO_KME
    token = _token(host, request.person) if request.person else ""
    tickets = _disable(ctx, request.person) if request.disable else 0
    account = _account(host, token)
    sealed = charge_restoring.recovery(host, person=token, device=request.device)

    def begin(tx: Transaction) -> tuple[int, int, int, int]:
        signed_in = tickets + (host.people.sign_out_everywhere(tx, request.person) if token and not request.device else 0)
        ended = _end(tx, host, _live(tx, token, request.device))
        renewing = _renew_others(tx, service) if token and not request.device else 0
        values = {"person": token, "device": request.device, "sessions": str(ended), "tickets": str(signed_in), "account": account}
        values |= {"renewing": str(renewing), "reason": request.reason, "recovery": sealed}
        host.evidence.append(tx, "qkd.charge_revoking", values, actor=ctx.caller.person.token)
        return _ask(tx, host, token, request.device, actor=ctx.caller.person.token), signed_in, ended, renewing

    number, signed_in, ended, renewing = host.store.write(begin)  # before the lock: an entity that hangs delays nothing of this
    problem: WorkbenchError | None = None
    done = views.ChargesRevoked(0, 0, [])
    more = 0
    with _settling:
        mine = [one for one in _waiting(host) if one.number == number]  # none: repeated and done while this waited for its turn
        try:
            for one in mine:
                done, more = _settle(service, one)
        except WorkbenchError as error:
            problem = error
    return RevokeHolderReply(
        person=token, device=request.device, account=account, tickets=signed_in, keys=done.revoked, pools=done.pools, sessions=ended + more,
        renewing=renewing, is_done=problem is None, took_ms=round((time.monotonic() - began) * 1000), problem_zh=problem.zh if problem else "",
        problem_en=problem.en if problem else "", problem_code=problem.code if problem else "",
    )  # fmt: skip


def settle(service: ChannelService, *, least_age_ms: int = 0) -> int:
    """Ask the entity again for what it has not confirmed, revoke media of disabled accounts, end sessions of closed pools; how many revocations.

    least_age_ms: a younger revocation is left to whoever asked for it.
    """
    host = service.host
    pools = service.client().charges()
    if not pools and not _waiting(host):
        return 0
    with _settling:
        _follow_accounts(service, pools)
        now = host.now_ms()  # one of a clock that was set back since counts as old
        waiting = [one for one in _waiting(host) if not one.actor or not now - least_age_ms < one.asked_ms <= now]
        for one in waiting:
            _settle(service, one)
        closed = [one for one in pools if one.revoked]

        def end(tx: Transaction) -> int:
            return sum(_end(tx, host, _live(tx, one.person, one.device, line=one.line)) for one in closed)

        if closed:
            host.store.write(end)
    return len(waiting)


def _renew_others(tx: Transaction, service: ChannelService) -> int:
    """What runs between the nodes is nobody's own, but who had rights here may know of it: fresh keys for all of it; how many sessions."""
    service.renew_sessions()
    return sessions.open_of(tx, CHANNEL)


def _follow_accounts(service: ChannelService, pools: Sequence[views.ChargePool]) -> None:
    """Whose account is disabled, keeps no medium: the revocation begins without anybody asking for it."""
    host: Any = service.host  # Any: the node
    known = host.people.names()
    gone = {one.person for one in pools if not one.revoked and one.person in known and _account(host, one.person) == "disabled"}
    asked = {one.person for one in _waiting(host) if not one.device}

    def change(tx: Transaction, token: str) -> None:
        ended = _end(tx, host, _live(tx, token, ""))
        values = {"person": token, "device": "", "sessions": str(ended), "tickets": "0", "account": "disabled", "reason": "account disabled"}
        values["renewing"] = str(_renew_others(tx, service))
        values["recovery"] = charge_restoring.recovery(host, person=token, device="")
        host.evidence.append(tx, "qkd.charge_revoking", values)
        _ask(tx, host, token, "", actor="")

    for token in sorted(gone - asked):
        host.store.write(lambda tx, token=token: change(tx, token))


def _settle(service: ChannelService, one: Revocation) -> tuple[views.ChargesRevoked, int]:
    """Have the entity do it, then write that down; (what it did, sessions ended here because of it). Raises what asking it raises."""
    host = service.host
    done = service.client().revoke_charges(person=one.person, device=one.device, reason=f"revocation {one.number}")

    def change(tx: Transaction) -> int:
        ended = _end(tx, host, [*_live(tx, one.person, one.device), *_named(tx, done.sessions)])
        tx.execute("DELETE FROM qkd_charge_revoking WHERE number = ?", (one.number,))
        values = {
            "person": one.person, "device": one.device, "keys": str(done.revoked), "pools": str(done.pools), "sessions": str(ended),
            "took_ms": str(max(0, host.now_ms() - one.asked_ms)),
        }  # fmt: skip
        host.evidence.append(tx, "qkd.charge_revoked", values, actor=one.actor)
        return ended

    return done, host.store.write(change)


def _disable(ctx: OperationContext, account: str) -> int:
    """Disable an account by the node's own operation, which only administrators may; how many tickets ended with it."""
    operation = ctx.host.gate.registry.named("people.disable")
    if not account:
        raise InvalidRequest("停用账号须写明人员", "name the person whose account is to be disabled")
    if not operation.roles & ctx.caller.person.roles:
        raise Denied(
            "停用账号由管理员办理。请去掉该选项先吊销，再请管理员停用", "Administrators disable accounts: revoke without that option, then ask one", code="ROLE_MISSING"
        )
    with ctx.host.store.read() as reader:
        tickets = int(reader.execute("SELECT count(*) FROM host_ticket WHERE person = ?", (account,)).fetchone()[0])
    if _account(ctx.host, _token(ctx.host, account)) != "disabled":
        operation.run(ctx, operation.request.model_validate({"person": account}))
    return tickets


def _token(host: Any, account: str) -> str:  # Any: the node
    """Of an account of today or of before: a disabled one may have media yet."""
    found = next((token for token, (one, _name) in host.people.names().items() if one == account), None)
    if found is None:
        raise NotFound("没有这个账号", "There is no such account", code="NO_SUCH_ACCOUNT")
    return str(found)


def _account(host: Any, token: str) -> str:  # Any: the node
    if not token:
        return ""
    people = [*host.people.everyone(), *(one for one, _by in host.people.waiting())]
    return "open" if any(one.token == token for one in people) else "disabled"


def _waiting(host: Any) -> list[Revocation]:  # Any: the node
    with host.store.read() as reader:
        rows = reader.execute("SELECT number, person, device, actor, asked_ms FROM qkd_charge_revoking ORDER BY number").fetchall()
    return [Revocation(*row) for row in rows]


def _ask(tx: Transaction, host: Any, token: str, device: str, *, actor: str) -> int:  # Any: the node
    made = tx.execute(
        "INSERT INTO qkd_charge_revoking (person, device, actor, asked_ms) VALUES (?, ?, ?, ?)", (token, device, actor, host.now_ms())
    ).lastrowid
    assert made is not None
    return int(made)


def _live(tx: Transaction, token: str, device: str, *, line: str = "") -> list[tuple[str, str]]:
    """(line, key id) of the open sessions of a person's media, or of a medium."""
    rows = tx.execute(
        "SELECT c.line, c.key_id FROM qkd_charge_session c JOIN qkd_session s ON s.session = c.session"
        " WHERE (?1 = '' OR c.person = ?1) AND (?2 = '' OR c.device = ?2) AND (?3 = '' OR c.line = ?3) AND s.state = 'OPEN'",
        (token, device, line),
    ).fetchall()
    return [(row[0], row[1]) for row in rows]


def _named(tx: Transaction, key_ids: Iterable[str]) -> list[tuple[str, str]]:
    """(line, key id) of sessions that the entity says to have been live: it may know of one that this node lost."""
    names = [session_name(one) for one in key_ids]
    found = [tx.execute("SELECT line, key_id FROM qkd_charge_session WHERE session = ?", (name,)).fetchone() for name in names]
    return [(row[0], row[1]) for row in found if row is not None]


def _end(tx: Transaction, host: Any, held: Iterable[tuple[str, str]], *, cause: str = "revoked") -> int:  # Any: the node
    """End the sessions of these keys, by line; how many were open."""
    by_line: dict[str, list[str]] = {}
    for line, key_id in held:
        by_line.setdefault(line, []).append(key_id)
    return sum(sessions.end_of_keys(tx, host, line, keys, cause=cause) for line, keys in sorted(by_line.items()))


class ChargeKeeper:
    """Goes on asking the entity for revocations that it has not confirmed, and follows accounts that were disabled."""

    name = "qkd-charge"

    def __init__(self, host: Host) -> None:
        self._host = host
        self._left: frozenset[str] = frozenset()
        self._quiet = QUIET_ROUNDS  # the first round asks
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, when there is an entity."""
        if self._host.setting("qkd.kme"):
            self._thread = threading.Thread(target=self._rounds, name=self.name, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End within seconds."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def round(self, service: ChannelService) -> bool:
        """Settle what there is; whether the entity was asked. Nothing waits and nobody has left: only now and then, for pools it closed itself."""
        people = service.host.people
        here = {one.token for one in (*people.everyone(), *(each for each, _by in people.waiting()))}
        left = frozenset(people.names()) - here
        if left == self._left and self._quiet < QUIET_ROUNDS and not _waiting(service.host):
            self._quiet += 1
            return False
        settle(service, least_age_ms=LEFT_ALONE_MS)
        self._left, self._quiet = left, 0
        return True

    def _rounds(self) -> None:
        """An entity that is away is told of by the health page and by what waits; the log need not say so every round."""
        while not self._stop.wait(max(LEAST_PAUSE_S, float(self._host.setting("qkd.follow_s")))):
            service = service_of(self._host)
            try:
                self.round(service)
            except WorkbenchError:
                continue
            except Exception as fault:  # noqa: BLE001 - a fault in one round must not end following for ever
                service.host.log_fault(fault)


_act: Any = partial(Operation, roles=OPERATORS)

OPERATIONS = (
    Operation(
        name="qkd.charge_status", zh="查看充注密钥池", en="look at the pools of charge keys", request=NoInput, reply=ChargesReply, roles=READERS,
        run=status, reads_only=True, weak_token=True,
    ),
    _act(
        name="qkd.charge_fill", zh="充注一件介质", en="fill a medium with charge keys", request=FillRequest, reply=FillReply, run=fill,
        fresh_password=True, evidence=("qkd.charge_filled",),
    ),
    _act(
        name="qkd.charge_deliver", zh="向介质投递会话密钥", en="deliver a session key to a medium", request=DeliverRequest, reply=DeliverReply, run=deliver,
        evidence=("qkd.charge_delivered", "qkd.charge_low", "qkd.session_ended"),
    ),
    Operation(
        name="qkd.charge_revoke", zh="吊销人员或介质", en="revoke a person or a medium", request=RevokeHolderRequest, reply=RevokeHolderReply,
        roles=OPERATORS | {Role.ADMIN}, run=revoke, fresh_password=True,
        evidence=("qkd.charge_revoking", "qkd.charge_revoked", "qkd.session_ended", "people.disabled"),
    ),
)  # fmt: skip

__all__ = ["OPERATIONS", "ChargeKeeper", "Revocation", "deliver", "fill", "reports", "revoke", "session_name", "settle", "status"]
