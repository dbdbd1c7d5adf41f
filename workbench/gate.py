"""The gate: authenticate, authorise with default deny, validate, run, record, answer. Every action passes here.

Refusals are evidence too, and so is every view of the regulator (decision 5). Operations that only read, or change only a
draft or a task of their caller, leave nothing else when they succeed; all others write their own entry in the transaction of
their change.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from workbench.contracts import OperationContext
from workbench.crypto import canonical, sm3
from workbench.domain.party import ROLE_NAMES, Caller, Role
from workbench.errors import (
    Denied,
    InvalidRequest,
    Refused,
    SignInRequired,
    WorkbenchError,
)
from workbench.node.evidence_coverage import left_entry
from workbench.node.sign_in_refusals import change_password_first, wrong_audience
from workbench.operations import Operation, Registry, View

if TYPE_CHECKING:
    from workbench.host import Workbench

STRANGERS_PER_MINUTE = 30
"""Refusals of callers who are not signed in that become entries."""
MACHINE_PER_MINUTE = 60
"""Refusals of one machine's credential that become entries in a minute; of CHANNEL_RATE one."""
log = logging.getLogger("workbench")


def action_digest(operation: str, request: BaseModel) -> str:
    """SM3 over operation and validated request: what a person confirms with a fresh password (decision 18)."""
    text = request.model_dump_json(by_alias=True)
    return sm3.digest(canonical.format({"operation": operation, "request": text})).hex()


def _require_machine(operation: Operation, caller: Caller) -> None:
    """What is a machine's no person does, and the reverse; Denied MACHINE_SCOPE, MACHINE_ONLY."""
    if caller.machine not in operation.machines:
        if caller.machine:
            raise Denied(
                f"这个机器凭据不能「{operation.zh}」", f"this machine's credential may not: {operation.en}", code="MACHINE_SCOPE", details={"operation": operation.name}
            )
        raise Denied(
            f"「{operation.zh}」只供渠道的机器凭据使用", f"only a machine with a credential of its own may: {operation.en}", code="MACHINE_ONLY", details={"operation": operation.name}
        )


POLLED = frozenset({"people.me", "pages.list", "tasks.get", "node.status", "evidence.index_status", "attack.list"})
"""What pages ask for by themselves, and what shows no evidence: no entry even when the regulator's page does (decision 5)."""
VIEW_AGAIN_MS = 5 * 60_000
LISTED = frozenset({"entries", "jobs", "rows", "people", "records", "pages"})
"""Members of replies whose length says how much was shown."""


def _plain_view(name: str, request: BaseModel, reply: BaseModel) -> View:
    """The digest of the request, and how many things the reply lists."""
    lists = [value for field, value in reply if isinstance(value, list | tuple) and field in LISTED]
    return View(action_digest(name, request), len(lists[0]) if lists else 1)


class Gate:
    """The one way in. host: the Workbench object; registry: every operation of host and plugins."""

    def __init__(self, host: Workbench, registry: Registry) -> None:
        self._host = host
        self.registry = registry
        self._viewed: dict[tuple[str, str], int] = {}
        self._strangers = (0, 0)
        self._machines: dict[str, tuple[int, int, int, int]] = {}
        self._lock = threading.Lock()

    def authorise(self, operation: Operation, caller: Caller | None) -> Caller:
        """The caller, if this operation is open to one of their roles; SignInRequired or Denied otherwise."""
        if caller is None:
            raise SignInRequired("请先登录", "Sign in first")
        if operation.machines or caller.machine:
            _require_machine(operation, caller)
        if not (caller.person.roles & operation.roles):
            roles = "、".join(ROLE_NAMES[role][0] for role in sorted(caller.person.roles))
            raise Denied(
                f"{roles}不能「{operation.zh}」。这次尝试已记录。需要时找管理员",
                f"Your role may not: {operation.en}. This attempt was recorded. Ask an administrator if you need it",
                details={"operation": operation.name},
            )
        if caller.first_password and operation.name != "people.change_password":
            raise change_password_first()
        if caller.audience == "lab" and not operation.reads_only:
            raise wrong_audience(f"「{operation.zh}」", operation.en)
        if caller.kernel and not operation.weak_token:
            raise Denied(
                f"笔记本的令牌不能「{operation.zh}」，请在工作台页面上操作",
                f"A notebook's token may not: {operation.en}. Do it on the workbench page",
                code="KERNEL_TOKEN",
                details={"operation": operation.name},
            )
        return caller

    def validate(self, operation: Operation, raw: Mapping[str, Any]) -> BaseModel:
        """The request as its type; InvalidRequest names each field and its fault, never the value."""
        try:
            return operation.request.model_validate(dict(raw))
        except ValidationError as error:
            faults = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()]
            text = "; ".join(faults)
            raise InvalidRequest(
                f"请求的字段不对：{text}", f"The request does not fit: {text}", details={"operation": operation.name}
            ) from None

    def call(
        self,
        name: str,
        raw: Mapping[str, Any],
        caller: Caller | None,
        *,
        confirmation: str = "",
        context: OperationContext | None = None,
        is_confirmed: bool = False,
    ) -> BaseModel:
        """Run one operation for one caller and return its reply; a refusal is recorded, then raised.

        is_confirmed: `confirm` was called for exactly this when the work was accepted.
        """
        operation, trusted, request = self.admit(name, raw, caller)
        try:
            if operation.fresh_password and not is_confirmed:
                self._host.people.spend_confirmation(trusted, confirmation, action_digest(name, request))
            used = context or self.context(trusted)
            since = self._host.ledger.size(self._host.party) if operation.leaves_entry else 0
            reply = operation.run(used, request)
            if operation.leaves_entry:
                self._require_entry(operation, trusted, since)
            if operation.reads_only and name not in POLLED:
                self._record_view(operation, used, request, reply)
            return reply
        except WorkbenchError as failure:  # a full disk or a silent partner too: failures are evidence as well
            self.record_refusal(name, caller, failure)
            raise

    def admit(
        self, name: str, raw: Mapping[str, Any], caller: Caller | None, *, kernel: bool = True
    ) -> tuple[Operation, Caller, BaseModel]:
        """What `call` checks of person and request before anything runs, for work that runs later; refusals are recorded.

        kernel: whether a notebook's token may do this at all.
        """
        try:
            operation = self.registry.named(name)
            trusted = self.authorise(operation, caller)
            if trusted.kernel and not kernel:
                raise Denied("笔记本的令牌不能发起此操作", "A notebook's token cannot start this action", code="KERNEL_TOKEN")
            return operation, trusted, self.validate(operation, raw)
        except Refused as refusal:
            self.record_refusal(name, caller, refusal)
            raise

    def confirm(self, operation: Operation, caller: Caller, request: BaseModel, confirmation: str) -> None:
        """Spend the confirmation of work that runs later, before it is accepted; the refusal is recorded."""
        try:
            if operation.fresh_password:
                self._host.people.spend_confirmation(caller, confirmation, action_digest(operation.name, request))
        except Refused as refusal:
            self.record_refusal(operation.name, caller, refusal)
            raise

    def context(self, caller: Caller) -> OperationContext:
        """A context without progress, for operations that answer at once."""
        return OperationContext(
            host=self._host, caller=caller, progress=lambda done, total, zh, en: None, cancelled=lambda: False
        )

    def _require_entry(self, operation: Operation, caller: Caller, since: int) -> None:
        """What changes something leaves an entry in its caller's name; an action without one is an entry itself.

        In a test workspace it is a fault, so that every test which acts proves the rule. The change itself stays: it is on
        disk by now, and the entry says so.
        """
        if not operation.evidence or left_entry(self._host, operation, caller.person.token, since):
            return
        values = {"operation": operation.name}
        self._host.store.write(
            lambda tx: self._host.evidence.append(tx, "action.unrecorded", values, actor=caller.person.token)
        )
        if self._host.kind == "test":
            raise AssertionError(f"{operation.name} left none of {operation.evidence}")

    def _record_view(self, operation: Operation, ctx: OperationContext, request: BaseModel, reply: BaseModel) -> None:
        """Every view of the regulator, and anybody's of one customer, is evidence before it is answered (decision 5).

        A page that refreshes is one view. What cannot be recorded is not given.
        """
        person = ctx.caller.person
        if operation.view is None and Role.REGULATOR not in person.roles:
            return
        seen = operation.view(ctx, request, reply) if operation.view else _plain_view(operation.name, request, reply)
        if Role.REGULATOR not in person.roles and not seen.is_recorded:
            return
        now, key = self._host.now_ms(), (person.token, seen.selection)
        if now - self._viewed.get(key, -VIEW_AGAIN_MS) < VIEW_AGAIN_MS:
            return
        values = {"operation": operation.name, "selection": seen.selection, "count": str(seen.count)}
        self._host.store.write(
            lambda tx: self._host.evidence.append(tx, "evidence.viewed", values, actor=person.token, subject=seen.subject)
        )
        self._viewed = {one: at for one, at in self._viewed.items() if now - at < VIEW_AGAIN_MS} | {key: now}

    def record_refusal(self, name: str, caller: Caller | None, refusal: WorkbenchError) -> None:
        """Write down that an operation was refused or failed; should that fail too, the refusal's details say so.

        Of callers without a valid ticket at most STRANGERS_PER_MINUTE are written down, and of one machine's
        MACHINE_PER_MINUTE: nobody fills the log from outside.
        """
        if caller is None and not self._has_room_for_stranger():
            return
        if caller is not None and caller.machine and not self._has_room_for_machine(caller.person.token, refusal.code):
            return
        known = name if name in {operation.name for operation in self.registry} else "unknown"
        values = {"operation": known, "code": refusal.code}
        actor = caller.person.token if caller else ""
        try:
            self._host.store.write(
                lambda tx: self._host.evidence.append(tx, "action.refused", values, actor=actor)
            )
        except WorkbenchError as failure:
            refusal.details["evidence"] = f"not recorded: {failure.code}"

    def _has_room_for_stranger(self) -> bool:
        minute = self._host.now_ms() // 60_000
        with self._lock:
            count = self._strangers[1] + 1 if self._strangers[0] == minute else 1
            self._strangers = (minute, count)
        return count <= STRANGERS_PER_MINUTE

    def _has_room_for_machine(self, credential: str, code: str) -> bool:
        """Whether this refusal becomes an entry; how many did not is logged with the first of a later minute."""
        now = self._host.now_ms()
        with self._lock:
            since, count, rates, left_out = self._machines.get(credential, (now, 0, 0, 0))
            if now - since >= 60_000:
                if left_out:
                    log.warning("%d refusals of %s were not written down one by one", left_out, credential)
                since, count, rates, left_out = now, 0, 0, 0
            is_rate = code == "CHANNEL_RATE"
            has_room = not rates if is_rate else count < MACHINE_PER_MINUTE
            self._machines[credential] = (since, count + (not is_rate), rates + is_rate, left_out + (not has_room))
        return has_room
