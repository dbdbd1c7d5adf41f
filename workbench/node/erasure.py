"""Erasing a customer: who asks, who confirms, what each owner did, what waits for the end of its term, and when that is.

Document: docs/protocols/erasure.md. Promises: nothing is called done while an owner failed; a crash loses no step; what a
term still keeps is in restricted storage and is destroyed by itself when it ends; the entries name places, never a person.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from workbench.contracts import Transaction
from workbench.domain.erasure import (
    DAY_MS,
    Customer,
    ErasureFinding,
    ErasureRequest,
    Stage,
    open_recovery,
    pack_names,
    parse_references,
    seal_recovery,
    unpack_names,
)
from workbench.domain.evidence import AuditFinding, ReplayNeed, RestoredEntry
from workbench.domain.identifiers import parse_id_no, parse_phone
from workbench.domain.party import Caller
from workbench.errors import (
    Cancelled,
    Denied,
    InvalidRequest,
    NotFound,
    Refused,
    StorageFailed,
    VerificationError,
    WorkbenchError,
)
from workbench.node.erasing import erase_from_host, finds_customers, identify, learn_again, shown_name
from workbench.node.erasure_search import GIVEN_OUT, search
from workbench.store.restricted import Restriction, Taken

if TYPE_CHECKING:
    from workbench.host import Workbench

SWEEP_S = 60.0
WAITING_DAYS = 7
REFERENCES_AN_ENTRY = 300
NONCE_SIZE = 12


def _go_on(done: int, total: int) -> bool:
    return True


_BINDING = {"evidence.erased": Stage.ERASE, "evidence.restricted": Stage.RESTRICT}


@dataclass(frozen=True, slots=True)
class Asked:
    """One row of erasure_request."""

    request: str
    state: str
    asked_by: str
    confirmed_by: str
    created_ms: int
    changed_ms: int
    until_ms: int
    report: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Why:
    """What was given for an erasure: the reason, who asked for it, and by what document."""

    reason: str = field(default="", repr=False)
    by: str = "subject"
    proof: str = field(default="", repr=False)


class Erasure:
    """The erasures of one node."""

    def __init__(self, host: Workbench) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._learning: threading.Thread | None = None

    # ---- life

    def start(self) -> None:
        """Go on with what a stop left open, destroy what is due, and look again every minute."""
        self._host.blobs.sweep()
        self.sweep()
        self._thread = threading.Thread(target=self._look_again, name="erasure", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._learning is not None:
            self._learning.join(timeout=30)

    def _look_again(self) -> None:
        while not self._stop.wait(SWEEP_S):
            self.sweep()

    def sweep(self) -> int:
        """Everything that is due by now; how many restrictions ended. A failure is reported and tried again later."""
        ended = 0
        with self._lock:
            self._try(self._expire)
            for one in self.requests(states=("RUNNING",)):
                self._try(partial(self._again, one.request))
            for request, group in self._due().items():
                ended += len(group) if self._try(partial(self._end, request, group)) else 0
        if ended:
            self._host.store.checkpoint()
        return ended

    def _try(self, step: Callable[[], None]) -> bool:
        """One request that fails keeps no other from its end."""
        try:
            step()
        except WorkbenchError as failure:
            self._host.log_fault(failure)
            return False
        return True

    # ---- asking

    def ask(
        self, caller: Caller, *, phone: str, id_no: str, reason: str, by: str = "subject", proof: str = "",
        step: Callable[[int, int], bool] = _go_on,
    ) -> Asked:  # fmt: skip
        """Take a request down; in production it waits for a second person, elsewhere it runs. Refusals: section 2.

        step: told bytes searched and bytes in all, answers whether to go on; the erasure is done before it is first asked.
        """
        with self._host.lists.kept_open():
            request, customer = self._ask(caller, phone, id_no, Why(reason, by, proof))
        if customer is not None:
            self._prove(request, customer, caller.person.token, step)
        return self.asked(request)

    def _ask(self, caller: Caller, phone: str, id_no: str, why: Why) -> tuple[str, Customer | None]:
        host = self._host
        if not phone.strip() and not id_no.strip():
            raise InvalidRequest("请填写手机号或身份证号", "give a phone number or an identity number")
        customer = identify(
            host,
            parse_phone(phone) if phone.strip() else None,
            parse_id_no(id_no, today=host.today()) if id_no.strip() else None,
        )
        request = "E-" + host.random(6).hex()
        waits = host.kind == "production"
        now = host.now_ms()
        actor = caller.person.token

        def change(tx: Transaction) -> None:
            host.vault.put(tx, _object(request), _packed(customer, why))
            tx.execute(
                "INSERT INTO erasure_request (request, state, asked_by, created_ms, changed_ms) VALUES (?, ?, ?, ?, ?)",
                (request, "WAITING" if waits else "RUNNING", actor, now, now),
            )
            values = {
                "request": request, "reason": why.reason, "by": why.by, "proof": why.proof, "waits": "yes" if waits else "no",
            }  # fmt: skip
            host.evidence.append(tx, "customers.erasure_asked", values, actor=actor, subject=customer.names[0])

        host.store.write(change)
        if waits:
            return request, None
        with self._lock:
            return request, self._first_stage(request, actor=actor)

    def confirm(self, caller: Caller, request: str, *, step: Callable[[int, int], bool] = _go_on) -> Asked:
        """The second person's yes; Denied OWN_REQUEST for the first one's. step: as in `ask`."""
        host, actor = self._host, caller.person.token
        now = host.now_ms()

        def change(tx: Transaction) -> None:
            row = tx.execute("SELECT state, asked_by FROM erasure_request WHERE request = ?", (request,)).fetchone()
            if row is None or row[0] != "WAITING":
                raise Refused(
                    "没有待确认的这项擦除", "no such erasure waits for confirmation", code="NOT_WAITING"
                )
            if row[1] == actor:
                raise Denied(
                    "提出人不能确认自己的擦除：请另一位合规人员确认",
                    "nobody confirms their own erasure: another person of compliance does",
                    code="OWN_REQUEST",
                )
            tx.execute(
                "UPDATE erasure_request SET state = 'RUNNING', confirmed_by = ?, changed_ms = ? WHERE request = ?",
                (actor, now, request),
            )
            host.evidence.append(tx, "customers.erasure_confirmed", {"request": request}, actor=actor)

        host.store.write(change)
        with self._lock, host.lists.kept_open():
            customer = self._first_stage(request, actor=actor)
        self._prove(request, customer, actor, step)
        return self.asked(request)

    def requests(self, *, states: Sequence[str] = ()) -> list[Asked]:
        """Requests, newest first; states: only these."""
        with self._host.store.read() as reader:
            rows = reader.execute(
                "SELECT request, state, asked_by, confirmed_by, created_ms, changed_ms, until_ms, report"
                " FROM erasure_request ORDER BY created_ms DESC, request"
            ).fetchall()
        found = [
            Asked(
                request=row[0], state=row[1], asked_by=row[2], confirmed_by=row[3], created_ms=row[4], changed_ms=row[5],
                until_ms=row[6], report=tuple(json.loads(row[7])),
            )
            for row in rows
        ]  # fmt: skip
        return [one for one in found if not states or one.state in states]

    def asked(self, request: str) -> Asked:
        """One request; NotFound."""
        for one in self.requests():
            if one.request == request:
                return one
        raise NotFound("没有这项擦除", "there is no such erasure", code="NO_ERASURE")

    # ---- first stage

    def _again(self, request: str) -> None:
        """What a stop or a failure left open."""
        self._prove(request, self._first_stage(request, actor=""), "", _go_on)

    def _prove(self, request: str, customer: Customer, actor: str, step: Callable[[int, int], bool]) -> None:
        """Search every file for the customer, and add what was found to the report and to the log (section 10).

        The erasure itself is done and recorded before; a search that is stopped says so and changes nothing of it.
        """
        host = self._host
        finding, values = self._searched(customer, step)

        def change(tx: Transaction) -> None:
            row = tx.execute("SELECT report FROM erasure_request WHERE request = ?", (request,)).fetchone()
            report = [one for one in json.loads(row[0]) if one["owner"] != finding.owner]
            tx.execute(
                "UPDATE erasure_request SET report = ? WHERE request = ?",
                (json.dumps([*report, finding.as_dict()], ensure_ascii=False), request),
            )
            host.evidence.append(tx, "customers.erasure_searched", {"request": request, **values}, actor=actor)

        host.store.write(change)

    def _searched(self, customer: Customer, step: Callable[[int, int], bool]) -> tuple[ErasureFinding, dict[str, str]]:
        if not customer.identifiers:
            zh = "没有查找文件：恢复后重做时只知道代号，不知道号码"
            en = "no file was searched: after a restore only tokens are known, no numbers"
            return ErasureFinding("search", "files searched", 0, 0, 0, 0, zh, en), {"files": "0", "size": "0", "hits": "-"}
        stopped = False

        def go_on(done: int, total: int) -> None:
            nonlocal stopped
            stopped = stopped or not step(done, total)

        try:
            found = search(self._host.folder, customer.identifiers, progress=go_on, cancelled=lambda: stopped)
        except (Cancelled, StorageFailed) as cancel:
            return ErasureFinding("search", "files searched", 0, 0, 0, 0, cancel.zh, cancel.en), {"files": "0", "size": "0", "hits": "-"}
        ours = [one for one in found.hits if one.file.parts[0] not in GIVEN_OUT]
        given = len({one.file for one in found.hits}) - len({one.file for one in ours})
        size = f"{found.size_bytes / (1 << 20):.1f} MiB"
        zh = f"查找了 {found.files} 个文件，{size}，含日志：" + ("没有找到此人" if not ours else "仍找到此人，运维与合规岗立即查明")
        en = f"{found.files} files, {size}, were searched, the write-ahead log included: " + (
            "the customer is in none" if not ours else "the customer is still there; operations and compliance find out why"
        )
        if given:
            zh, en = f"{zh}；另有 {given} 个已交出的导出文件", f"{en}; besides, {given} exported files that were handed out"
        if found.unread:
            zh, en = f"{zh}；{found.unread} 个文件无法读取", f"{en}; {found.unread} files could not be read"
        names = tuple(f"{shown_name(one.file.as_posix())}: {one.form}" for one in ours)
        finding = ErasureFinding("search", "files searched", len(ours), 0, 0, 0, zh, en, left=len(ours), names=names)
        return finding, {"files": str(found.files), "size": str(found.size_bytes), "hits": str(len(ours))}

    def _first_stage(self, request: str, *, actor: str) -> Customer:
        """Owner by owner, then the openings; the request stays RUNNING when somebody failed. Returns whom, in clear."""
        host = self._host
        with host.store.read() as reader:
            customer, why = _unpacked(host.vault.get(reader, _object(request)))
        asked = ErasureRequest(request, Stage.RESTRICT, customer, actor, why.reason, why.by, why.proof)
        findings: list[ErasureFinding] = []
        failures: list[str] = []

        def failed(plugin: str, error: Exception) -> None:
            host.log_fault(error)
            failures.append(f"{plugin}: {error.code if isinstance(error, WorkbenchError) else 'INTERNAL'}")

        for _, answer in host.plugins.collect("workbench_erase_customer", failed=failed, host=host, request=asked):
            findings += answer
        with host.lists.kept_open():
            host.withdrawals.settle()  # partners are told, and exports found, while the rows are still there
            findings += erase_from_host(host, asked)
        if failures:
            raise WorkbenchError(
                f"擦除 {request} 没有做完，启动时与每分钟会再试：管理员检查插件",
                f"Erasure {request} is not finished and is tried again at start and every minute: an administrator checks"
                " the plugins",
                code="ERASURE_UNFINISHED",
                details={"request": request, "failed": "; ".join(failures)},
            )
        names = customer.names

        def change(tx: Transaction) -> None:
            taken = host.restricted.take_openings(tx, names, request=request)
            done = [*findings, _openings_finding(taken)]
            self._record(tx, request, done, taken, names, actor)

        host.store.write(change, timeout_s=300)
        host.store.checkpoint()
        self._learn_again([name for one in findings if one.owner == "lists" for name in one.names])
        return customer

    def _learn_again(self, lists: Sequence[str]) -> None:
        """Prepare rewritten lists in the background: nobody waits for it, and nothing is lost when it does not happen."""

        def work() -> None:
            try:
                learn_again(self._host, lists)
            except WorkbenchError as failure:
                self._host.log_fault(failure)

        if lists and not self._stop.is_set():
            self._learning = threading.Thread(target=work, name="learn-lists", daemon=True)
            self._learning.start()

    def _record(
        self, tx: Transaction, request: str, findings: Sequence[ErasureFinding], taken: Taken, names: Sequence[str], actor: str
    ) -> None:  # fmt: skip
        """The entries, the new state and the report of a first stage, in its last transaction."""
        host = self._host
        lying = host.restricted.restrictions(tx, request=request)
        now = host.now_ms()
        kept = [one for one in lying if one.entry >= 0]
        records = [one for one in lying if one.entry < 0]
        if lying:
            self._entries(
                tx, "evidence.restricted", Stage.RESTRICT, request, [one.place for one in kept], names, actor,
                records=_counts({one.kind: one.items for one in records}),
                until=str(max(one.until_ms for one in lying)),
                basis="; ".join(dict.fromkeys(one.basis_en for one in lying)),
            )  # fmt: skip
        erased = _counts({one.owner: one.erased for one in findings if one.erased and one.owner != "evidence"})
        if taken.erased or erased or not lying:
            self._entries(
                tx, "evidence.erased", Stage.ERASE, request, taken.erased, names, actor, records=erased, until="", basis=""
            )
        if lying:  # what is needed at the end: whose term it was, by token alone
            host.vault.put(tx, _object(request), _packed(Customer(tuple(names)), Why()))
        else:
            host.vault.shred(tx, _object(request))
        tx.execute(
            "UPDATE erasure_request SET state = ?, changed_ms = ?, until_ms = ?, report = ? WHERE request = ?",
            (
                "RESTRICTED" if lying else "ERASED",
                now,
                max((one.until_ms for one in lying), default=0),
                json.dumps([one.as_dict() for one in findings], ensure_ascii=False),
                request,
            ),
        )

    def _entries(
        self, tx: Transaction, kind: str, stage: Stage, request: str, places: Sequence[str], names: Sequence[str], actor: str,
        *, records: str, until: str, basis: str,
    ) -> None:  # fmt: skip
        host = self._host
        for start in range(0, max(len(places), 1), REFERENCES_AN_ENTRY):
            recovery = seal_recovery(
                host.vault.token_key("recovery"), pack_names(request, names), binding=stage.value,
                nonce=host.random(NONCE_SIZE),
            )  # fmt: skip
            values = {
                "request": request,
                "entries": " ".join(places[start : start + REFERENCES_AN_ENTRY]),
                "records": records,
                "recovery": recovery,
            }
            if kind == "evidence.restricted":
                values |= {"until": until, "basis": basis}
            host.evidence.append(tx, kind, values, actor=actor)

    # ---- the end of terms

    def _expire(self) -> None:
        host, now = self._host, self._host.now_ms()
        for one in self.requests(states=("WAITING",)):
            if one.created_ms + WAITING_DAYS * DAY_MS > now:
                continue

            def change(tx: Transaction, request: str = one.request) -> None:
                host.vault.shred(tx, _object(request))
                tx.execute(
                    "UPDATE erasure_request SET state = 'EXPIRED', changed_ms = ? WHERE request = ?", (now, request)
                )

            host.store.write(change)

    def _due(self) -> dict[str, list[Restriction]]:
        host = self._host
        with host.store.read() as reader:
            due = host.restricted.due(reader, host.now_ms())
        by_request: dict[str, list[Restriction]] = {}
        for one in due:
            by_request.setdefault(one.request, []).append(one)
        return by_request

    def _end(self, request: str, group: Sequence[Restriction]) -> None:
        host = self._host
        with host.store.read() as reader:
            customer = _unpacked(host.vault.get(reader, _object(request)))[0]
            last = len(host.restricted.restrictions(reader, request=request)) == len(group)
        if last:
            asked = ErasureRequest(request, Stage.ERASE, customer)
            host.plugins.collect("workbench_erase_customer", host=host, request=asked)

        def change(tx: Transaction) -> None:
            ended = [one for one in group if host.restricted.destroy(tx, one)]
            records = _counts({one.kind: one.items for one in ended if one.entry < 0})
            places = [one.place for one in ended if one.entry >= 0]
            self._entries(
                tx, "evidence.erased", Stage.ERASE, request, places, customer.names, "", records=records, until="", basis=""
            )
            if not host.restricted.restrictions(tx, request=request):
                host.vault.shred(tx, _object(request))
                tx.execute(
                    "UPDATE erasure_request SET state = 'ERASED', changed_ms = ? WHERE request = ?", (host.now_ms(), request)
                )

        host.store.write(change, timeout_s=300)

    # ---- a restored node

    def replay(self, entries: Sequence[RestoredEntry]) -> list[ReplayNeed]:
        """Queue again what an older copy undid: `start` does it before anything else, so nobody is used meanwhile.

        entries: of the own log, from mirrors. Returns what people must do again. Safe to repeat. No entry is written here.
        See docs/protocols/erasure.md section 6.
        """
        host = self._host
        unreadable = 0
        wanted: dict[str, tuple[str, ...]] = {}
        for entry in entries:
            if entry.kind not in _BINDING:
                continue
            try:
                message = open_recovery(
                    host.vault.token_key("recovery"), entry.shared.get("recovery", ""), binding=_BINDING[entry.kind].value
                )
                request, names = unpack_names(message)
                wanted[request] = names
            except VerificationError:
                unreadable += 1
        now = host.now_ms()

        def change(tx: Transaction) -> None:
            for request, names in wanted.items():
                tx.execute(
                    "INSERT OR REPLACE INTO erasure_request (request, state, asked_by, created_ms, changed_ms)"
                    " VALUES (?, 'RUNNING', '', ?, ?)",
                    (request, now, now),
                )
                host.vault.put(tx, _object(request), _packed(Customer(names), Why()))

        if wanted:
            host.store.write(change)
        if not unreadable:
            return []
        zh = f"有 {unreadable} 项擦除无法从取回的记录重做：合规岗按原申请再擦除一次"
        en = f"{unreadable} erasures cannot be done again from what came back: compliance erases those customers once more"
        return [ReplayNeed("evidence.erased", unreadable, zh, en)]

    # ---- restricted values

    def find(self, *, phone: str, id_no: str) -> list[Restriction]:
        """Restrictions of one customer, for whoever may read them."""
        host = self._host
        names = set(
            finds_customers(host).customer_names(
                phones=(parse_phone(phone),) if phone.strip() else (),
                id_nos=(parse_id_no(id_no, today=host.today()),) if id_no.strip() else (),
            )
        )
        return self.of_names(names)

    def of_names(self, names: Collection[str]) -> list[Restriction]:
        """Restrictions of whoever has one of these tokens."""
        host, wanted = self._host, set(names)
        with host.store.read() as reader:
            return [
                one
                for asked in self.requests(states=("RESTRICTED",))
                if wanted & set(_unpacked(host.vault.get(reader, _object(asked.request)))[0].names)
                for one in host.restricted.restrictions(reader, request=asked.request)
            ]

    # ---- does it hold?

    def check(self) -> Iterator[AuditFinding]:
        """What is set aside against its commitments, and every opening taken out against the entries that say so."""
        host = self._host
        with host.store.read() as reader:
            yield from host.restricted.check(reader)
            marks = host.evidence.marks(reader)
            told: dict[int, set[str]] = {}
            for kind in ("evidence.erased", "evidence.restricted"):
                before: int | None = None
                while rows := host.evidence.search(reader, kind=kind, before=before, limit=1000):
                    before = rows[-1].index
                    for row in rows:
                        entries = host.evidence.view(reader, row.index).get("entries", "")
                        for index, fields in parse_references(entries).items():
                            told.setdefault(index, set()).update(fields)
        for index, name in sorted(marks):
            if name not in told.get(index, ()):
                yield AuditFinding(
                    host.party, index, name, "ERASED_UNRECORDED",
                    "字段已被清除，而没有擦除记录：合规人员核查谁动过数据库",
                    "a field was emptied and no entry says so: compliance finds out who touched the database",
                )  # fmt: skip


def _object(request: str) -> str:
    return f"erasure/{request}"


def _packed(customer: Customer, why: Why) -> bytes:
    value = {
        "names": customer.names, "phones": customer.phones, "id_nos": customer.id_nos, "reason": why.reason, "by": why.by,
        "proof": why.proof,
    }  # fmt: skip
    return json.dumps(value, ensure_ascii=False).encode()


def _unpacked(data: bytes) -> tuple[Customer, Why]:
    value = json.loads(data)  # of an earlier version: without `by` and `proof`
    why = Why(value["reason"], value.get("by", "subject"), value.get("proof", ""))
    return Customer(tuple(value["names"]), tuple(value["phones"]), tuple(value["id_nos"])), why


def _counts(values: dict[str, int]) -> str:
    return " ".join(f"{name}:{count}" for name, count in sorted(values.items()))


def _openings_finding(taken: Taken) -> ErasureFinding:
    reasons = list(dict.fromkeys((one.basis_zh, one.basis_en) for one in taken.restricted))
    return ErasureFinding(
        "evidence", "values in entries", taken.erased_items + taken.restricted_items, taken.erased_items,
        taken.restricted_items, taken.until_ms,
        "；".join(zh for zh, _ in reasons) or "没有保存期要求，已销毁",
        "; ".join(en for _, en in reasons) or "nothing demands retention; destroyed",
    )  # fmt: skip


__all__ = ["Asked", "Erasure"]
