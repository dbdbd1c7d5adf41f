"""People of one institution: accounts, tickets, fresh passwords. The node signs people in, nobody else (decision 17)."""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workbench.contracts import EvidenceLog, Store, Transaction
from workbench.crypto import passwords, sm3
from workbench.domain.party import Caller, PartyId, Person, PersonId, Role
from workbench.errors import Denied, InvalidRequest, NotFound, Refused, SignInRequired
from workbench.node.sign_in_refusals import (
    OBSTACLES,
    access_ended,
    change_password_first,
    session_ended,
    slowed,
    wrong_audience,
)
from workbench.node.slowdown import SlowDown, place_of

TICKET_MINUTES = 15
SESSION_HOURS = 8
CONFIRMATION_MINUTES = 5
VERIFICATIONS_AT_ONCE = 4
"""Each takes 64 MiB: whoever may ask for a sign-in must not be able to take all the node's memory."""
AUDIENCES = ("page", "lab", "command", "kernel")
"""What a ticket is for: the node's own pages and the page process, the Lab server, a command, a notebook."""
CONFIRMATION_PAGE = "confirmation"
"""The ticket that the node's confirmation page takes for itself and ends at once; nobody else can ask for one."""
MAY_CONFIRM = frozenset({"", "command", CONFIRMATION_PAGE})
MAY_DERIVE = frozenset({"", "command", "lab"})
"""Empty: within this process, without a ticket. A ticket that leaks from one place is of no use in another (decision 17)."""
STRANGERS_A_MINUTE = 30
"""Entries about sign-ins under names that no account has."""
MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
REGULATOR_DAYS = 90
"""How long a regulator's account lasts when nobody says otherwise."""
LONGEST_DAYS = 366


@dataclass(frozen=True, slots=True)
class Ticket:
    """Proof that the node signed one person in, for one audience; the secret leaves the node exactly once.

    expires_ms: at most 15 minutes ahead; renewable_until_ms: at most 8 hours after sign-in.
    """

    secret: str
    person: Person
    audience: str
    expires_ms: int
    renewable_until_ms: int

    def __repr__(self) -> str:
        return f"Ticket({self.person.person}, {self.audience}, expires_ms={self.expires_ms})"


class People:
    """Accounts and sign-in of one node. Only digests of tickets and argon2id hashes of passwords are stored."""

    def __init__(
        self,
        *,
        party: PartyId,
        store: Store,
        evidence: EvidenceLog,
        now_ms: Callable[[], int],
        random: Callable[[int], bytes],
        sealed_name: Callable[[str], str],
        slowest_s: Callable[[], int] = lambda: 60,
    ) -> None:
        self._sealed_name = sealed_name
        self._slowest_s = slowest_s
        self._slow = SlowDown()
        self._strangers = (0, 0)
        self._party = party
        self._store = store
        self._evidence = evidence
        self._now_ms = now_ms
        self._random = random
        self._verifying = threading.BoundedSemaphore(VERIFICATIONS_AT_ONCE)

    def add(
        self,
        *,
        person: str,
        display_name: str,
        roles: Sequence[Role],
        password: str,
        by: str = "",
        until_ms: int | None = None,
        first_until_ms: int | None = None,
        waits: bool = False,
    ) -> Person:
        """Create an account; the password must satisfy the policy. Leaves one entry.

        until_ms: when it ends by itself. A regulator's always does, after REGULATOR_DAYS without it, and a regulator has
        no other role: the seat reads and never writes. first_until_ms: the password is a one-time one, valid until then,
        and opens nothing but its own change. waits: the account opens nothing until another administrator confirmed it.
        """
        if not roles:
            raise InvalidRequest("账号须至少有一个岗位", "An account needs at least one role")
        if Role.REGULATOR in roles:
            if len(set(roles)) > 1:
                raise InvalidRequest(
                    "监管账号只读，不能兼其他岗位", "A regulator's account only reads and has no other role", code="REGULATOR_ALONE"
                )
            until_ms = until_ms or self._now_ms() + REGULATOR_DAYS * DAY_MS
        self._check_until(until_ms)
        passwords.check_policy(password, person=person)
        token = "P-" + self._random(6).hex()
        made = Person(PersonId(person), self._party, frozenset(roles), display_name, token, until_ms)
        hashed = passwords.hash_password(password)

        def change(tx: Transaction) -> None:
            row = tx.execute("SELECT 1 FROM host_person WHERE person = ?", (person,)).fetchone()
            if row:
                raise InvalidRequest("这个账号已存在", "This account already exists", code="ACCOUNT_EXISTS")
            tx.execute(
                "INSERT INTO host_person(person, display_name, token, roles, password_hash, until_ms, added_by, first_until_ms,"
                " waits) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    person,
                    display_name,
                    made.token,
                    json.dumps(sorted(roles)),
                    hashed,
                    until_ms,
                    by,
                    first_until_ms,
                    int(waits),
                ),
            )
            self._evidence.append(
                tx, "people.added", {"account": person, "person": made.token, "roles": ",".join(sorted(roles))}, actor=by
            )

        self._store.write(change)
        return made

    def extend(self, person: str, *, until_ms: int, by: Caller) -> Person:
        """Give an account with an end another one; from now at most LONGEST_DAYS. Leaves one entry."""
        self._check_until(until_ms)

        def change(tx: Transaction) -> Person:
            row = tx.execute("SELECT * FROM host_person WHERE person = ? AND disabled_ms IS NULL", (person,)).fetchone()
            if not row or row["until_ms"] is None:
                raise NotFound("没有这个有期限的账号", "There is no such account with an end", code="NO_SUCH_ACCOUNT")
            tx.execute("UPDATE host_person SET until_ms = ? WHERE person = ?", (until_ms, person))
            values = {"person": row["token"], "until": str(until_ms)}
            self._evidence.append(tx, "people.extended", values, actor=by.person.token)
            return self._person({**dict(row), "until_ms": until_ms})

        return self._store.write(change)

    def _check_until(self, until_ms: int | None) -> None:
        now = self._now_ms()
        if until_ms is not None and not now < until_ms <= now + LONGEST_DAYS * DAY_MS:
            raise InvalidRequest(
                f"期限须在今后 {LONGEST_DAYS} 天之内", f"The end must lie within the next {LONGEST_DAYS} days", code="BAD_UNTIL"
            )

    def _check_not_ended(self, row: object) -> None:
        """Raises SignInRequired when the account's time is over; row: of host_person."""
        until_ms = dict(row)["until_ms"]  # type: ignore[call-overload]  # sqlite3.Row or dict, both map names to values
        if until_ms is not None and until_ms <= self._now_ms():
            raise access_ended(until_ms)

    def everyone(self) -> list[Person]:
        """All accounts that are neither disabled nor waiting, by name."""
        with self._store.read() as reader:
            rows = reader.execute(
                "SELECT * FROM host_person WHERE disabled_ms IS NULL AND waits = 0 ORDER BY person"
            ).fetchall()
        return [self._person(row) for row in rows]

    def waiting(self) -> list[tuple[Person, str]]:
        """Accounts that wait for a second administrator, each with the token of the one who added it."""
        with self._store.read() as reader:
            rows = reader.execute(
                "SELECT * FROM host_person WHERE disabled_ms IS NULL AND waits = 1 ORDER BY person"
            ).fetchall()
        return [(self._person(row), str(row["added_by"])) for row in rows]

    def confirm_account(self, person: str, *, by: Caller) -> Person:
        """Open a waiting account as the second administrator; Denied for the one who added it. Leaves one entry.

        Every account outside demo and test thus has two people behind it, so nobody makes themselves a second person.
        """

        def change(tx: Transaction) -> Person:
            row = tx.execute(
                "SELECT * FROM host_person WHERE person = ? AND disabled_ms IS NULL AND waits = 1", (person,)
            ).fetchone()
            if not row:
                raise NotFound("没有这个待确认的账号", "There is no such account waiting", code="NO_SUCH_ACCOUNT")
            if row["added_by"] == by.person.token:
                raise Denied(
                    "这个账号是你新增的，须由另一位管理员确认",
                    "You added this account; another administrator must confirm it",
                    code="SELF_APPROVAL",
                )
            tx.execute("UPDATE host_person SET waits = 0 WHERE person = ?", (person,))
            values = {"account": person, "person": row["token"], "added_by": row["added_by"]}
            self._evidence.append(tx, "people.confirmed", values, actor=by.person.token)
            return self._person(row)

        return self._store.write(change)

    def reissue_first_password(self, person: str, *, password: str, first_until_ms: int) -> Person:
        """Another one-time password for an account whose own was never set; Refused NOT_A_FIRST_PASSWORD otherwise.

        For operators who hold the node's passphrase, while it does not run. Leaves one entry.
        """
        passwords.check_policy(password, person=person)
        hashed = passwords.hash_password(password)

        def change(tx: Transaction) -> Person:
            row = tx.execute("SELECT * FROM host_person WHERE person = ? AND disabled_ms IS NULL", (person,)).fetchone()
            if not row:
                raise NotFound("没有这个账号", "There is no such account")
            if row["first_until_ms"] is None:
                raise Refused(
                    "这个账号已有本人的密码，不能重新签发", "This account has a password of its own; none is issued",
                    code="NOT_A_FIRST_PASSWORD",
                )  # fmt: skip
            tx.execute(
                "UPDATE host_person SET password_hash = ?, first_until_ms = ? WHERE person = ?",
                (hashed, first_until_ms, person),
            )
            tx.execute("DELETE FROM host_ticket WHERE person = ?", (person,))
            self._evidence.append(tx, "people.first_password_issued", {"person": row["token"]})
            return self._person(row)

        return self._store.write(change)

    def past_first_password(self) -> list[str]:
        """Names of the accounts whose person has set the password, and of the disabled ones."""
        query = "SELECT person FROM host_person WHERE first_until_ms IS NULL OR disabled_ms IS NOT NULL"
        with self._store.read() as reader:
            rows = reader.execute(query).fetchall()
        return [str(row["person"]) for row in rows]

    def named(self, token: str) -> str:
        """The display name behind an evidence token, or the token itself when it is of another institution."""
        with self._store.read() as reader:
            row = reader.execute("SELECT display_name FROM host_person WHERE token = ?", (token,)).fetchone()
        return row["display_name"] if row else token

    def names(self) -> dict[str, tuple[str, str]]:
        """Token -> account and display name of everybody who ever had an account here: evidence outlives accounts."""
        with self._store.read() as reader:
            rows = reader.execute("SELECT token, person, display_name FROM host_person").fetchall()
        return {row["token"]: (row["person"], row["display_name"]) for row in rows}

    def sign_in(self, *, person: str, password: str, audience: str, address: str = "") -> Ticket:
        """Check the password and issue a ticket; after five failures from one place that place waits between attempts.

        address: where the request came from. Raises SignInRequired with the same words for an unknown account and a wrong
        password, and the same pause for both (code SIGN_IN_SLOWED).
        """
        if audience not in AUDIENCES:
            raise InvalidRequest("不认识的登录用途", "Unknown audience of a ticket")
        row = self._checked_row(person, password, operation="sign-in", place=place_of(address))
        return self._issue(self._person(row), audience)

    def sign_in_to_confirm(self, *, person: str, password: str, address: str = "") -> Ticket:
        """A ticket for the node's own confirmation page, to be ended by it at once."""
        row = self._checked_row(person, password, operation="confirm", place=place_of(address))
        return self._issue(self._person(row), CONFIRMATION_PAGE)

    def confirm(self, caller: Caller, *, password: str, action_digest: str) -> str:
        """A fresh password for one action; returns a one-time secret valid for five minutes (decision 18)."""
        if caller.kernel:
            raise Denied(
                "笔记本的令牌不能确认操作，请在节点页面上输入密码",
                "A notebook's token cannot confirm an action; enter the password on the node's page",
                code="KERNEL_TOKEN",
            )
        if caller.audience not in MAY_CONFIRM:
            raise wrong_audience("确认操作", "confirm an action")
        # A place of its own: guesses at the sign-in do not keep somebody who is signed in from confirming.
        self._checked_row(caller.person.person, password, operation="confirm", place="ticket")
        secret = self._random(32).hex()
        expires_ms = self._now_ms() + CONFIRMATION_MINUTES * MINUTE_MS

        def change(tx: Transaction) -> None:
            tx.execute(
                "INSERT INTO host_confirmation(digest, person, action_digest, expires_ms) VALUES (?, ?, ?, ?)",
                (_digest(secret), caller.person.person, _bound(secret, action_digest), expires_ms),
            )

        self._store.write(change)
        return secret

    def spend_confirmation(self, caller: Caller, secret: str, action_digest: str) -> None:
        """Use a confirmation once, for exactly the action it was given for; Denied otherwise."""
        digest = _digest(secret)

        def change(tx: Transaction) -> bool:
            row = tx.execute("SELECT * FROM host_confirmation WHERE digest = ?", (digest,)).fetchone()
            tx.execute("DELETE FROM host_confirmation WHERE digest = ? OR expires_ms < ?", (digest, self._now_ms()))
            return bool(
                row
                and row["person"] == caller.person.person
                and row["expires_ms"] >= self._now_ms()
                and hmac.compare_digest(row["action_digest"], _bound(secret, action_digest))
            )

        if not secret or not self._store.write(change):
            raise Denied(
                "这项操作需要重新输入密码确认（5 分钟内、仅限所示内容）",
                "This action needs a fresh password, given within 5 minutes for exactly what was shown",
                code="CONFIRMATION_NEEDED",
            )

    def caller(self, secret: str, *, audience: str = "") -> Caller:
        """Who holds this ticket; SignInRequired when it is unknown, expired, or for another audience."""
        with self._store.read() as reader:
            row = reader.execute(
                "SELECT t.expires_ms, t.kernel, t.audience, p.* FROM host_ticket t JOIN host_person p USING (person)"
                " WHERE t.digest = ? AND p.disabled_ms IS NULL AND p.waits = 0",
                (_digest(secret),),
            ).fetchone()
        if row:
            self._check_not_ended(row)
        if not row or row["expires_ms"] <= self._now_ms() or (audience and row["audience"] != audience):
            raise session_ended()
        return Caller(
            person=self._person(row),
            kernel=bool(row["kernel"]),
            audience=str(row["audience"]),
            first_password=row["first_until_ms"] is not None,
        )

    def renew(self, secret: str) -> Ticket:
        """A new ticket for the same person and audience; the old one ends. Not after the session's eight hours."""
        now = self._now_ms()

        def change(tx: Transaction) -> tuple[Person, str, int]:
            row = tx.execute(
                "SELECT t.*, p.* FROM host_ticket t JOIN host_person p USING (person)"
                " WHERE t.digest = ? AND p.disabled_ms IS NULL",
                (_digest(secret),),
            ).fetchone()
            if row:
                self._check_not_ended(row)
            if not row or row["expires_ms"] <= now or row["renewable_until_ms"] <= now:
                raise session_ended()
            tx.execute("DELETE FROM host_ticket WHERE digest = ?", (_digest(secret),))
            return self._person(row), row["audience"], row["renewable_until_ms"]

        person, audience, until_ms = self._store.write(change)
        return self._issue(person, audience, renewable_until_ms=until_ms, silent=True)

    def derive(self, caller: Caller, audience: str, *, source: str = "") -> Ticket:
        """A ticket of the same person for another audience, e.g. a notebook's weak token.

        source: the ticket it is derived from; the new one can be renewed no longer than that one.
        """
        if caller.kernel:
            raise Denied("笔记本的令牌不能再签发票据", "A notebook's token issues no tickets", code="KERNEL_TOKEN")
        if caller.audience not in MAY_DERIVE:
            raise wrong_audience("签发票据", "issue tickets")
        if caller.first_password:
            raise change_password_first()
        return self._issue(caller.person, audience, renewable_until_ms=self._renewable_until(source) if source else None)

    def sign_out(self, secret: str) -> None:
        """End a ticket; unknown ones are ignored."""
        self._store.write(lambda tx: tx.execute("DELETE FROM host_ticket WHERE digest = ?", (_digest(secret),)) and None)

    def change_password(self, caller: Caller, password: str) -> None:
        """Give the caller's own account another password; every ticket of it ends. The policy applies.

        Refused SAME_PASSWORD when a one-time password would stay.
        """
        passwords.check_policy(password, person=caller.person.person)
        hashed = passwords.hash_password(password)

        def change(tx: Transaction) -> None:
            person = caller.person.person
            row = tx.execute("SELECT first_until_ms, password_hash FROM host_person WHERE person = ?", (person,)).fetchone()
            is_first = row["first_until_ms"] is not None
            if is_first and _matches(row["password_hash"], password):
                raise Refused("新密码不能是一次性密码", "The new password must be another one", code="SAME_PASSWORD")
            tx.execute(
                "UPDATE host_person SET password_hash = ?, first_until_ms = NULL WHERE person = ?", (hashed, person)
            )
            tx.execute("DELETE FROM host_ticket WHERE person = ?", (person,))
            tx.execute("DELETE FROM host_confirmation WHERE person = ?", (person,))
            kind = "people.first_password_changed" if is_first else "people.password_changed"
            self._evidence.append(tx, kind, {}, actor=caller.person.token)

        self._store.write(change)

    def disable(self, person: str, *, by: Caller) -> None:
        """End an account and all its tickets at once."""
        now = self._now_ms()

        def change(tx: Transaction) -> None:
            row = tx.execute("SELECT token FROM host_person WHERE person = ? AND disabled_ms IS NULL", (person,)).fetchone()
            if not row:
                raise NotFound("没有这个账号，或已停用", "There is no such account, or it is disabled already", code="NO_SUCH_ACCOUNT")
            tx.execute("UPDATE host_person SET disabled_ms = ? WHERE person = ?", (now, person))
            tx.execute("DELETE FROM host_ticket WHERE person = ?", (person,))
            tx.execute("DELETE FROM host_confirmation WHERE person = ?", (person,))
            values = {"person": row["token"], "recovery": self._sealed_name(row["token"])}
            self._evidence.append(tx, "people.disabled", values, actor=by.person.token)

        self._store.write(change)

    def sign_out_everywhere(self, tx: Transaction, person: str) -> int:
        """End every ticket and confirmation of an account in the caller's change, which leaves the entry; how many tickets."""
        tx.execute("DELETE FROM host_confirmation WHERE person = ?", (person,))
        return tx.execute("DELETE FROM host_ticket WHERE person = ?", (person,)).rowcount

    def _issue(
        self, person: Person, audience: str, *, renewable_until_ms: int | None = None, silent: bool = False
    ) -> Ticket:
        now = self._now_ms()
        until_ms = renewable_until_ms or now + SESSION_HOURS * 60 * MINUTE_MS
        ticket = Ticket(
            secret=self._random(32).hex(),
            person=person,
            audience=audience,
            expires_ms=min(now + TICKET_MINUTES * MINUTE_MS, until_ms, person.until_ms or until_ms),
            renewable_until_ms=until_ms,
        )

        def change(tx: Transaction) -> None:
            tx.execute("DELETE FROM host_ticket WHERE expires_ms < ?", (now,))
            tx.execute(
                "INSERT INTO host_ticket VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    _digest(ticket.secret),
                    person.person,
                    audience,
                    int(audience == "kernel"),
                    now,
                    ticket.expires_ms,
                    until_ms,
                ),
            )
            if not silent:
                self._evidence.append(tx, "people.signed_in", {"audience": audience}, actor=person.token)

        self._store.write(change)
        return ticket

    def _renewable_until(self, secret: str) -> int:
        with self._store.read() as reader:
            row = reader.execute("SELECT renewable_until_ms FROM host_ticket WHERE digest = ?", (_digest(secret),)).fetchone()
        if row is None or row["renewable_until_ms"] <= self._now_ms():
            raise session_ended()
        return int(row["renewable_until_ms"])

    def _checked_row(self, person: str, password: str, *, operation: str, place: str) -> dict[str, object]:
        """The account's row when the password is right. Every failure is an entry and costs the same time."""
        with self._slow.turn(person, place, now_ms=self._now_ms()):
            pause = self._slow.begin(
                person, place, now_ms=self._now_ms(), slowest_ms=1000 * max(1, int(self._slowest_s()))
            )
            if pause.wait_ms:
                if pause.is_new:  # one entry a pause: guessing on must not fill the log
                    self._store.write(lambda tx: self._record_refusal(tx, person, operation, "SLOWED"))
                raise slowed(pause.wait_ms)
            row, problem = self._verified(person, password, operation)
            if problem != "WRONG_PASSWORD":
                self._slow.succeed(person, place)
        if row is None or problem == "WRONG_PASSWORD":
            raise SignInRequired(
                "账号或密码不对。连续出错后须稍候再试", "Wrong account or password. After several failures wait before the next",
                code="SIGN_IN_FAILED",
            )  # fmt: skip
        # What follows is told only to whoever knew the password.
        if problem == "ACCESS_ENDED":
            raise access_ended(int(str(row["until_ms"])))
        if problem:
            raise OBSTACLES[problem]()
        return row

    def _verified(self, person: str, password: str, operation: str) -> tuple[dict[str, object] | None, str]:
        """The account's row, None for an unknown one, and what is in the way of a sign-in, "" for nothing."""
        query = "SELECT * FROM host_person WHERE person = ? AND disabled_ms IS NULL"
        with self._store.read() as reader:
            row = reader.execute(query, (person,)).fetchone()
        with self._verifying:
            matches = _matches(row["password_hash"] if row else None, password)

        def change(tx: Transaction) -> str:
            known = tx.execute(query, (person,)).fetchone()  # as it is now: the password may have been changed meanwhile
            right = bool(row and known and matches and known["password_hash"] == row["password_hash"])
            problem = self._obstacle(known) if right else "WRONG_PASSWORD"
            if problem:
                self._record_refusal(tx, person, operation, problem)
            return problem

        problem = self._store.write(change)
        return (dict(row) if row else None), problem

    def _obstacle(self, row: dict[str, object]) -> str:
        now, data = self._now_ms(), dict(row)
        if data["until_ms"] is not None and int(str(data["until_ms"])) <= now:
            return "ACCESS_ENDED"
        if data["waits"]:
            return "ACCOUNT_WAITS"
        if data["first_until_ms"] is not None and int(str(data["first_until_ms"])) <= now:
            return "FIRST_PASSWORD_EXPIRED"
        return ""

    def _record_refusal(self, tx: Transaction, person: str, operation: str, code: str) -> None:
        """An entry for an account; of names that no account has, at most STRANGERS_A_MINUTE."""
        known = tx.execute("SELECT token FROM host_person WHERE person = ?", (person,)).fetchone()
        if known is None:
            minute = self._now_ms() // MINUTE_MS
            self._strangers = (minute, self._strangers[1] + 1 if self._strangers[0] == minute else 1)
            if self._strangers[1] > STRANGERS_A_MINUTE:
                return
        values = {"operation": operation, "code": code}
        self._evidence.append(tx, "people.sign_in_refused", values, actor=known["token"] if known else "")

    def _person(self, row: object) -> Person:
        data = dict(row)  # type: ignore[call-overload]  # sqlite3.Row or dict, both map names to values
        return Person(
            person=PersonId(data["person"]),
            party=self._party,
            roles=frozenset(Role(name) for name in json.loads(data["roles"])),
            display_name=data["display_name"],
            token=data["token"],
            until_ms=data["until_ms"],
        )


def _matches(encoded: str | None, password: str) -> bool:
    """Whether the password is right; an unknown account costs the same work, so that the time does not tell."""
    if encoded is None:
        passwords.spend_verification_time()
        return False
    try:
        passwords.verify_password(encoded, password)
    except Denied:
        return False
    return True


def _bound(secret: str, action_digest: str) -> str:
    """What is stored of the action: the bare digest of a request with a phone in it would confirm a guess at the phone."""
    return sm3.hmac(secret.encode(), action_digest.encode()).hex()


def _digest(secret: str) -> bytes:
    return sm3.digest(b"workbench/v1/ticket\0" + secret.encode())
