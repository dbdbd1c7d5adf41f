"""Credentials of machines that ask through a channel: the office system and the back end of the customers' app.

A secret is shown once and kept nowhere; a row has its SM3. It opens nothing until another person has confirmed it, ends by itself, and
is bound to one channel and one role. Document: docs/channels.md section 2.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Final

from workbench.contracts import Host, Transaction
from workbench.crypto import sm3
from workbench.domain.party import ROLE_NAMES, Caller, PartyId, Person, PersonId, Role
from workbench.errors import Denied, NotFound, Refused, SignInRequired
from workbench_inference.policy.tables import NEVER_ASK, Reader

PREFIX: Final = "wbc-"
"""What every secret begins with: no ticket of a person does, which is hex."""
MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
LONGEST_DAYS: Final = 366
_COLUMNS: Final = "credential, name, channel, role, per_minute, state, first, second, made_ms, until_ms, revoked_ms"


@dataclass(frozen=True, slots=True)
class Credential:
    """credential: its name in evidence; state: waiting, live, revoked; per_minute: most requests, but for reads; first, second: who
    added it and who confirmed."""

    credential: str
    name: str
    channel: str
    role: str
    per_minute: int
    state: str
    first: str
    second: str
    made_ms: int
    until_ms: int
    revoked_ms: int

    def is_live(self, now_ms: int) -> bool:
        return self.state == "live" and now_ms < self.until_ms


def credentials(reader: Reader) -> list[Credential]:
    """All that ever were, newest first."""
    return [Credential(*row) for row in reader.execute(f"SELECT {_COLUMNS} FROM inference_channel ORDER BY made_ms DESC, credential").fetchall()]


def named(reader: Reader, name: str) -> Credential:
    """The one of this name that is not revoked; NotFound NO_CREDENTIAL."""
    row = reader.execute(f"SELECT {_COLUMNS} FROM inference_channel WHERE name = ? AND state <> 'revoked'", (name,)).fetchone()
    if row is None:
        raise NotFound("没有这个渠道凭据，或已撤销", "there is no such credential of a channel, or it is revoked", code="NO_CREDENTIAL")
    return Credential(*row)


def name_of(reader: Reader, credential: str) -> str:
    """Its name behind the token of evidence, "" for none."""
    row = reader.execute("SELECT name FROM inference_channel WHERE credential = ?", (credential,)).fetchone() if credential else None
    return str(row[0]) if row else ""


def add(host: Host, tx: Transaction, *, name: str, channel: str, role: Role, per_minute: int, until_ms: int, actor: str, reason: str) -> tuple[Credential, str]:
    """A credential that waits for another person, and its secret, told this once.

    Raises Refused ROLE_NEVER_ASKS, CREDENTIAL_TAKEN, CREDENTIAL_TIME.
    """
    now = host.now_ms()
    if role in NEVER_ASK:
        zh, en = ROLE_NAMES[role]
        raise Refused(f"{zh}不提问，渠道不能以它的名义提问", f"a {en} asks no model, so no channel asks under that role", code="ROLE_NEVER_ASKS", details={"role": role.value})
    if not now < until_ms <= now + LONGEST_DAYS * DAY_MS:
        raise Refused(f"凭据的期限须在今后 {LONGEST_DAYS} 天之内", f"a credential ends within the next {LONGEST_DAYS} days", code="CREDENTIAL_TIME")
    if tx.execute("SELECT 1 FROM inference_channel WHERE name = ? AND state <> 'revoked'", (name,)).fetchone():
        raise Refused(f"已有名为 {name} 的凭据：先撤销，或换一个名字", f"there is a credential named {name}: revoke it first, or choose another name", code="CREDENTIAL_TAKEN")
    secret = f"{PREFIX}{host.random(32).hex()}"
    made = Credential(f"C-{host.random(6).hex()}", name, channel, role.value, per_minute, "waiting", actor, "", now, until_ms, 0)
    tx.execute(
        f"INSERT INTO inference_channel ({_COLUMNS}, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (made.credential, name, channel, role.value, per_minute, made.state, actor, "", now, until_ms, 0, _digest(secret)),
    )
    _record(host, tx, "inference.channel_added", made, actor=actor, reason=reason)
    return made, secret


def confirm(host: Host, tx: Transaction, *, name: str, actor: str, reason: str) -> Credential:
    """Another person opens it. Raises Denied SELF_APPROVAL, Refused WRONG_STATE."""
    row = named(tx, name)
    if row.state != "waiting":
        raise Refused("这个凭据已经确认过", "this credential was confirmed before", code="WRONG_STATE", details={"state": row.state})
    if row.first == actor:
        raise Denied("这个凭据是你新增的，须由另一个人确认", "you added this credential; another person must confirm it", code="SELF_APPROVAL")
    tx.execute("UPDATE inference_channel SET state = 'live', second = ? WHERE credential = ?", (actor, row.credential))
    _record(host, tx, "inference.channel_confirmed", row, actor=actor, reason=reason)
    return named(tx, name)


def revoke(host: Host, tx: Transaction, *, name: str, actor: str, reason: str) -> Credential:
    """It opens nothing from now on."""
    row = named(tx, name)
    tx.execute("UPDATE inference_channel SET state = 'revoked', revoked_ms = ? WHERE credential = ?", (host.now_ms(), row.credential))
    _record(host, tx, "inference.channel_revoked", row, actor=actor, reason=reason)
    return row


class ChannelMachines:
    """`workbench.contracts.Machines` over this node's credentials; one for a node, safe for threads."""

    prefix = PREFIX

    def __init__(self, host: Host) -> None:
        self._host = host
        self._limit = RateLimit()

    def caller(self, secret: str) -> Caller:
        """As a person whose account is the credential, with its one role."""
        with self._host.store.read() as reader:
            row = reader.execute(f"SELECT {_COLUMNS} FROM inference_channel WHERE digest = ?", (_digest(secret),)).fetchone()
        found = Credential(*row) if row else None
        if found is None or not found.is_live(self._host.now_ms()):
            raise SignInRequired(
                "渠道凭据无效、待确认、已到期或已撤销：请管理员查看", "the channel's credential is unknown, waits to be confirmed, has ended or is revoked: an administrator looks",
                code="CREDENTIAL_REFUSED",
            )  # fmt: skip
        person = Person(PersonId(found.name), PartyId(self._host.party), frozenset({Role(found.role)}), found.name, found.credential, found.until_ms)
        return Caller(person, audience="machine", machine=found.channel)

    def spend(self, caller: Caller) -> None:
        """Count one request; Refused CHANNEL_RATE beyond its limit, which says when there is room again."""
        self._spend(caller, "", 1)

    def spend_read(self, caller: Caller) -> None:
        """Count one read of an answer, `inference.channel_reads` times as many as requests; Refused CHANNEL_RATE."""
        self._spend(caller, "read:", int(self._host.setting("inference.channel_reads")))

    def _spend(self, caller: Caller, share: str, times: int) -> None:
        with self._host.store.read() as reader:
            row = reader.execute("SELECT per_minute FROM inference_channel WHERE credential = ?", (caller.person.token,)).fetchone()
        wait_ms = self._limit.spend(f"{share}{caller.person.token}", most=times * int(row[0]) if row else 0, now_ms=self._host.now_ms())
        if wait_ms:
            wait_s = -(-wait_ms // 1000)
            raise Refused(
                f"这个渠道一分钟内的请求太多，请 {wait_s} 秒后再试", f"this channel asks too often; try again in {wait_s} s", code="CHANNEL_RATE",
                details={"retry_after_s": str(wait_s)},
            )  # fmt: skip


class RateLimit:
    """At most so many in any 60 seconds, by name. In memory: a restart forgets a minute."""

    def __init__(self) -> None:
        self._times: dict[str, deque[int]] = {}
        self._lock = threading.Lock()

    def spend(self, name: str, *, most: int, now_ms: int) -> int:
        """0 and counted, or how long until there is room, in ms."""
        with self._lock:
            times = self._times.setdefault(name, deque())
            while times and times[0] <= now_ms - MINUTE_MS:
                times.popleft()
            if len(times) >= most:
                return max(1, times[0] + MINUTE_MS - now_ms) if times else MINUTE_MS
            times.append(now_ms)
            return 0


def _record(host: Host, tx: Transaction, kind: str, row: Credential, *, actor: str, reason: str) -> None:
    values = {
        "credential": row.credential, "name": row.name, "channel": row.channel, "role": row.role, "per_minute": str(row.per_minute), "until": str(row.until_ms),
        "first": row.first, "reason": reason,
    }  # fmt: skip
    host.evidence.append(tx, kind, values, actor=actor)


def _digest(secret: str) -> bytes:
    return sm3.digest(b"workbench/v1/channel-credential\0" + secret.encode())


__all__ = ["PREFIX", "ChannelMachines", "Credential", "RateLimit", "add", "confirm", "credentials", "name_of", "named", "revoke"]
