"""Operations about pages: which ones a person may open, and the refusal that a deep link to another one leaves.

The node decides, not the page: a page's process asks here before it shows anything, and a refusal becomes evidence
through the gate like every other (docs/pages.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from workbench.contracts import Dashboard, OperationContext
from workbench.domain.party import ROLE_NAMES, Role
from workbench.errors import Denied, NotFound
from workbench.operations import NoInput, Operation, Reply, Request

if TYPE_CHECKING:
    from workbench.host import Workbench


class PageInfo(Reply):
    """One page of a plugin; `name` is its address."""

    name: str
    title_zh: str
    title_en: str
    icon: str
    order: int
    plugin: str


class PageFault(Reply):
    """A plugin whose pages cannot be listed."""

    plugin: str
    problem: str


class PagesReply(Reply):
    """Pages open to this person's roles, in menu order, and plugins whose pages are missing because of a fault."""

    pages: list[PageInfo]
    faults: list[PageFault]


class OpenPage(Request):
    page: str = Field(max_length=60)


def _collected(host: Workbench) -> tuple[list[tuple[str, Dashboard]], list[PageFault]]:
    faults: list[PageFault] = []

    def failed(plugin: str, error: Exception) -> None:
        host.log_fault(error)
        faults.append(PageFault(plugin=plugin, problem=type(error).__name__))

    listed = [(plugin, one) for plugin, many in host.plugins.collect("workbench_dashboards", failed=failed) for one in many]
    found = [(plugin, one) for plugin, one in listed if not one.only_with[0] or host.setting(one.only_with[0]) in one.only_with[1]]
    return sorted(found, key=lambda pair: (pair[1].order, pair[1].name)), faults


def _info(plugin: str, page: Dashboard) -> PageInfo:
    return PageInfo(
        name=page.name, title_zh=page.title_zh, title_en=page.title_en, icon=page.icon, order=page.order, plugin=plugin
    )


def _list(ctx: OperationContext, request: NoInput) -> PagesReply:
    roles = {role.value for role in ctx.caller.person.roles}
    found, faults = _collected(ctx.host)
    return PagesReply(pages=[_info(plugin, page) for plugin, page in found if page.roles & roles], faults=faults)


def _open(ctx: OperationContext, request: OpenPage) -> PageInfo:
    """Refused DENIED, and so recorded by the gate, when no role of this person may open the page."""
    person = ctx.caller.person
    for plugin, page in _collected(ctx.host)[0]:
        if page.name != request.page:
            continue
        if page.roles & {role.value for role in person.roles}:
            return _info(plugin, page)
        roles = sorted(person.roles)
        raise Denied(
            f"{'、'.join(ROLE_NAMES[role][0] for role in roles)}不能打开「{page.title_zh}」页。这次访问已记录。需要时找管理员",
            f"{', '.join(ROLE_NAMES[role][1] for role in roles)} cannot open {page.title_en}."
            " This visit was recorded. Ask an administrator if you need it",
            details={"page": page.name},
        )
    raise NotFound("没有这一页。请从侧栏打开", "There is no such page. Open one from the sidebar", code="UNKNOWN_PAGE")


PAGE_OPERATIONS = (
    Operation(
        name="pages.list", zh="查看可打开的页面", en="list the pages", request=NoInput, reply=PagesReply,
        roles=frozenset(Role), run=_list, weak_token=True, reads_only=True,
    ),
    Operation(
        name="pages.open", zh="打开页面", en="open a page", request=OpenPage, reply=PageInfo,
        roles=frozenset(Role), run=_open, reads_only=True,
    ),
)  # fmt: skip

__all__ = ["PAGE_OPERATIONS"]
