"""Two adapters between a channel's format and a question of this house: who asks, what they may see, in which words.

The office system asks for a member of staff, under that person's quota and one role of theirs. The customers' app asks for a customer,
by a reference; class, invitation and stage are read in this institution's records. Document: docs/channels.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, Protocol

from workbench.domain.party import Caller, Person
from workbench.errors import Denied, InvalidRequest, NotFound, WorkbenchError
from workbench_inference.asking.house import AskRow
from workbench_inference.asking.replies import AskTold
from workbench_inference.asking.steps import Asked
from workbench_inference.channels import words
from workbench_inference.channels.replies import (
    ChannelAnswer,
    ChannelCitation,
    ChannelField,
    ChannelQuestion,
    ChannelRequest,
)
from workbench_inference.policy.channels import CLIENT, INTERNAL

STATES: Final = {"QUEUED": "WAITING", "STREAMING": "WAITING", "CUT": "FAILED"}
"""States of a question that a channel calls otherwise."""


class Adapter(Protocol):
    """One channel. channel: its name in policy and evidence."""

    channel: str

    def person(self, host: Any, caller: Caller, request: ChannelRequest) -> Caller:
        """Under whose rights and quota it is asked."""

    def asked(self, ask: str, caller: Caller, request: ChannelQuestion) -> Asked:
        """The question as this house asks it. caller: the machine."""

    def is_own(self, row: AskRow, caller: Caller, person: Caller, request: ChannelRequest) -> bool:
        """Whether whoever is named asked it, through this very credential."""

    def told(self, told: AskTold, *, after: int) -> ChannelAnswer:
        """What may be shown."""

    def refused(self, error: WorkbenchError) -> WorkbenchError:
        """In words for whoever reads it."""


class OfficeAdapter:
    """The internal office system: members of staff, one of whose roles is the credential's."""

    channel = INTERNAL.name

    def person(self, host: Any, caller: Caller, request: ChannelRequest) -> Caller:
        if not request.staff or request.customer:
            raise InvalidRequest("办公系统须写明是哪位员工（staff），不带客户", "the office system names the member of staff (staff) and no customer")
        found: Person | None = next((one for one in host.people.everyone() if one.person == request.staff), None)
        if found is None or (found.until_ms is not None and found.until_ms <= host.now_ms()):
            raise NotFound("没有这个账号，或已停用、到期", "there is no such account, or it is disabled or has ended", code="NO_PERSON")
        roles = caller.person.roles & found.roles
        if not roles:
            raise Denied("这位员工没有渠道凭据所限的岗位", "this member of staff does not have the role that the credential is bound to", code="STAFF_ROLE")
        return replace(caller, person=replace(found, roles=roles))

    def asked(self, ask: str, caller: Caller, request: ChannelQuestion) -> Asked:
        return Asked(
            ask, request.question, request.scenario, language=request.language, channel=self.channel, client_class=request.client_class, credential=caller.person.token
        )

    def is_own(self, row: AskRow, caller: Caller, person: Caller, request: ChannelRequest) -> bool:
        return row.credential == caller.person.token and row.person == person.person.token

    def told(self, told: AskTold, *, after: int) -> ChannelAnswer:
        return _answer(told, after=after, text=told.text, entry=told.entry, zh=told.zh, en=told.en)

    def refused(self, error: WorkbenchError) -> WorkbenchError:
        return error


class AppAdapter:
    """The customers' app: invited customers, or all of them once the trial is open."""

    channel = CLIENT.name

    def person(self, host: Any, caller: Caller, request: ChannelRequest) -> Caller:
        if not request.customer or request.staff:
            raise InvalidRequest("客户端须写明是哪位客户（customer），不带员工", "the customers' app names the customer (customer) and no member of staff")
        return caller

    def asked(self, ask: str, caller: Caller, request: ChannelQuestion) -> Asked:
        if request.client_class:
            raise InvalidRequest("客户的等级取自本机构的记录，请求中不能写", "a customer's class comes from this institution's records and is not taken from a request")
        return Asked(
            ask, request.question, request.scenario, language=request.language, channel=self.channel, customer=(request.customer,), credential=caller.person.token
        )

    def is_own(self, row: AskRow, caller: Caller, person: Caller, request: ChannelRequest) -> bool:
        return row.credential == caller.person.token and row.customer == request.customer

    def told(self, told: AskTold, *, after: int) -> ChannelAnswer:
        zh, en = words.for_customer(told.code, told.zh, told.en) if told.code else ("", "")
        is_checked = told.state in ("ANSWERED", "ABSTAINED")
        return _answer(told, after=after, text=told.text if is_checked else "", entry="", zh=zh, en=en)

    def refused(self, error: WorkbenchError) -> WorkbenchError:
        return words.told(error)


ADAPTERS: Final[dict[str, Adapter]] = {one.channel: one for one in (OfficeAdapter(), AppAdapter())}


def _answer(told: AskTold, *, after: int, text: str, entry: str, zh: str, en: str) -> ChannelAnswer:
    shown = told.state in ("ANSWERED", "ABSTAINED")
    return ChannelAnswer(
        ask=told.ask, state=STATES.get(told.state, told.state), asked_ms=told.asked_ms, ended_ms=told.ended_ms, text=text,
        fields=[ChannelField(label_zh=one.label_zh, label_en=one.label_en, value=one.value, unit=one.unit, cite=one.cite) for one in told.fields if shown],
        citations=[ChannelCitation(n=one.n, title=one.title, source=one.source, time_ms=one.time_ms, synthetic=one.synthetic) for one in told.citations if shown],
        disclaimer_zh=told.disclaimer_zh, disclaimer_en=told.disclaimer_en, engine=f"{told.engine} {told.engine_version}".strip() if shown else "", watermark=told.watermark,
        code=told.code, zh=zh, en=en, rating=told.rating, entry=entry, next=after,
    )  # fmt: skip


__all__ = ["ADAPTERS", "Adapter", "AppAdapter", "OfficeAdapter"]
