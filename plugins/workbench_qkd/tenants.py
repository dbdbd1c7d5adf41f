"""Which tenant sessions with a partner belong to, and that no key of another tenant's line gets into one.

Document: docs/quantum-channel.md section 18; of lines and applications: docs/protocols/key-delivery.md section 5.3.
"""

from __future__ import annotations

from typing import Any, Final

from workbench.contracts import Setting
from workbench.errors import Refused, StartRefused
from workbench_kme.keys.model import is_tag
from workbench_kme.service import views

SETTING: Final = "qkd.tenants"
CODE: Final = "TENANT_DIFFERS"
SETTINGS: Final = (
    Setting(
        SETTING, dict, {}, "",
        "与每家机构的会话属于哪个租户：{机构: 租户标记}。只用带同一标记的线路；未写的机构只用没有标记的线路。双方一致；启动时读取",
        "which tenant sessions with each institution belong to: {institution: tag}. Only lines with this tag are used; with an institution that is not named,"
        " only lines without one. The same at both ends; read at start",
    ),
)  # fmt: skip


def tags(setting: Any) -> dict[str, str]:  # Any: out of the settings file, checked here
    """Partner -> tag of its lines. Raises StartRefused WRONG_SETTING."""
    if not isinstance(setting, dict) or not all(isinstance(one, str) and is_tag(one) for one in setting.values()):
        raise StartRefused(
            "设置 qkd.tenants 应为 {机构: 租户标记}，标记为 1 至 31 个小写字母、数字或连字符，节点不启动。运维更正",
            "The setting qkd.tenants must be {institution: tag}, a tag being 1 to 31 lower-case letters, digits and dashes; the node does not start. Operations correct it",
            code="WRONG_SETTING",
        )
    return {str(party): tag for party, tag in setting.items()}


def tag_of(host: Any, partner: str) -> str:  # Any: the node, as contracts.Host or an operation's context has it
    """Tag of the lines for sessions with this institution, "" for lines without one."""
    return tags(host.setting(SETTING)).get(partner, "")


def check(host: Any, line: views.Line) -> None:  # Any: the node
    """Return if keys of this line may go into something of the institution it leads to. Raises Refused TENANT_DIFFERS."""
    wanted = tag_of(host, line.peer_site)
    if line.tenant != wanted:
        raise differs(line.peer_site, wanted, line=line.line)


def require_same(host: Any, partner: str, named: str) -> None:  # Any: the node
    """Return if the partner names the tenant that this node has set for it. Raises Refused TENANT_DIFFERS."""
    wanted = tag_of(host, partner)
    if named != wanted:
        raise _refused(
            partner, f"对方写的是{_zh(named)}，本机构设的是{_zh(wanted)}", f"the other end names {_en(named)}, this one {_en(wanted)}", line=""
        )


def differs(partner: str, wanted: str, *, line: str = "") -> Refused:
    """A line of another tenant, or none of the right one; nothing else is used in its place."""
    if line:
        return _refused(partner, f"属于{_zh(wanted)}，线路 {line} 不属于", f"they belong to {_en(wanted)}, line {line} does not", line=line)
    return _refused(partner, f"属于{_zh(wanted)}，通往它的线路都不属于", f"they belong to {_en(wanted)}, no line that leads there does", line="")


def _refused(partner: str, zh: str, en: str, *, line: str) -> Refused:
    return Refused(
        f"与 {partner} 的会话不属同一租户：{zh}。不取用密钥，也不改走其他线路。双方运维核对 qkd.tenants 与线路的租户标记",
        f"Sessions with {partner} are not of one tenant: {en}. No key is taken and no other line is used. Operations of both ends check qkd.tenants and the tags of the lines",
        code=CODE, details={"line": line, "missing": "1"},
    )  # fmt: skip


def _zh(tag: str) -> str:
    return f"标记「{tag}」" if tag else "无标记"


def _en(tag: str) -> str:
    return f"the tag {tag}" if tag else "no tag"


__all__ = ["CODE", "SETTING", "SETTINGS", "check", "differs", "require_same", "tag_of", "tags"]
