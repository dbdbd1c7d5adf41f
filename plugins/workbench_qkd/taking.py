"""Keys of a line for one session: a fresh one, or the one of an id, and no other in its place.

Document: docs/protocols/qkd-channel.md section 3. Nothing here writes; values are handed on and never kept.
"""

from __future__ import annotations

from typing import Any, Final

from workbench.channel.terms import SUITES, Policy, QkdShare, SessionTerms
from workbench.errors import InvalidRequest, KeyUnavailable, Refused, StartRefused, WorkbenchError
from workbench_kme.service import views
from workbench_kme.service.standard import MANDATORY_UNMET
from workbench_qkd import tenants
from workbench_qkd.model import counts, exhausted, needs_share
from workbench_qkd.service import ChannelService

WITHDRAWN: Final = frozenset({"REVOKED", "QUARANTINED"})
"""States of a key, as its entity calls them, that no session is to begin with."""


def fresh(service: ChannelService, line: views.Line, policy: str, *, held: bool) -> QkdShare | None:
    """A key that nobody has used, from this site's entity; None where the policy wants none.

    held: people have not resumed the line since its last alarm. Raises KeyUnavailable LINE_STOPPED, KEY_EXHAUSTED or
    what the entity says; Refused TENANT_DIFFERS, PROVENANCE_REFUSED.
    """
    tenants.check(service.host, line)
    if held or line.state == "alarm":
        raise exhausted(line.line, missing=1, retry_after_s=0, is_stopped=True)
    if not needs_share(policy):
        return None
    require_counting(service, line, policy)
    keys, _ = service.keys(line.line)
    try:
        # What the line gives now may not be what lies in stock since before: the entity is told which origins count.
        far = far_application(line)
        with service.measures.asking(line.line):
            got = keys.get_keys(far, origins=origins(service, policy))[0]
    except KeyUnavailable as error:
        if error.code != "EXHAUSTED":
            raise
        raise short(line.line, error) from error
    except InvalidRequest as error:
        if MANDATORY_UNMET not in error.en:
            raise
        raise _other_origin(line.line) from error
    finally:
        keys.close()
    if not got.provenance:
        raise Refused(
            f"线路 {line.line} 的密钥管理实体没有说明密钥来源，不使用该密钥。运维核对实体",
            f"The entity of line {line.line} does not say where its key comes from; it is not used. Operations check the entity",
            code="PROVENANCE_REFUSED",
        )
    return QkdShare(got.key_id, got.provenance, got.value)


def far_application(line: views.Line) -> str:
    """The application of the far site's node on a line. Raises KeyUnavailable NO_FAR_APPLICATION."""
    if not line.peer_saes:
        raise KeyUnavailable(
            f"线路 {line.line} 的对端 {line.peer_site} 已撤销其全部应用，没有会话可用其密钥。请对方运维登记应用",
            f"{line.peer_site} has withdrawn all its applications of line {line.line}, so no session can have a key of it. Their operations register one",
            code="NO_FAR_APPLICATION",
        )
    return line.peer_saes[0]


def require_counting(service: ChannelService, line: views.Line, policy: str) -> None:
    """Return if keys of this line are enough for the policy. Raises Refused PROVENANCE_REFUSED."""
    if not counts(policy, line.provenance, service.host.setting("qkd.required_origins")):
        raise Refused(
            f"线路 {line.line} 的策略只认设备密钥，这里的密钥来源是 {line.provenance}。接入设备，或由两个人降低策略",
            f"The policy of line {line.line} counts device keys only and its keys are {line.provenance}. Connect a device, or two people weaken the policy",
            code="PROVENANCE_REFUSED",
        )


def origins(service: ChannelService, policy: str) -> list[str]:
    """Origins of which a key must be under this policy; none: any will do."""
    return [str(one) for one in service.host.setting("qkd.required_origins")] if policy == "qkd-required" else []


def _other_origin(line: str) -> Refused:
    return Refused(
        f"线路 {line} 的库存中没有策略认可来源的密钥，不使用其他来源的密钥。等设备给出密钥，或换掉旧密钥",
        f"Line {line} has no key in stock of an origin that its policy counts; none of another origin is used. Wait for the device's keys, or replace the old ones",
        code="PROVENANCE_REFUSED",
    )


def short(line: str, error: KeyUnavailable) -> KeyUnavailable:
    """The entity's EXHAUSTED in this node's words: what is missing and when to try again."""
    retry = error.details.get("retry_after_s", "0")
    return exhausted(line, missing=1, retry_after_s=int(retry) if retry.isdigit() else 0, is_stopped=False)


def named(service: ChannelService, line: views.Line, key_id: str) -> QkdShare | None:
    """The key of this id from this site's entity, once; None when it has none of it. Raises Refused TENANT_DIFFERS."""
    tenants.check(service.host, line)
    if not key_id:
        return None
    keys, _ = service.keys(line.line)
    try:
        far = far_application(line)
        with service.measures.asking(line.line):
            got = keys.get_keys_by_id(far, [key_id])[0]
    except WorkbenchError:
        return None
    finally:
        keys.close()
    is_it = got.key_id == key_id and got.provenance
    return QkdShare(got.key_id, got.provenance, got.value) if is_it else None


def terms(service: ChannelService, policy: str, *, group: str = "") -> SessionTerms:
    """What both ends must have set alike."""
    return SessionTerms(Policy(policy), provenances=tuple(origins(service, policy)), group=group, suites=suites(service.host.setting("qkd.suites")))


def suites(setting: Any) -> tuple[str, ...]:  # Any: out of the settings file, checked here
    """What this end allows, most wanted first. Raises StartRefused WRONG_SETTING."""
    try:
        return SessionTerms(Policy.PQC_ONLY, suites=tuple(setting)).suites
    except (TypeError, ValueError) as error:
        raise StartRefused(
            f"设置 qkd.suites 应为会话套件名的列表（{'、'.join(SUITES)}），最想用的在前，且密码库支持；节点不启动。运维更正",
            f"The setting qkd.suites must be a list of suites of sessions ({', '.join(SUITES)}), most wanted first, which the library has; the node does not start. Operations correct it",
            code="WRONG_SETTING",
        ) from error


def consumed(service: ChannelService, key_id: str, *, line: str, purpose: str, reference: str) -> None:
    """Tell the entity what a key was used for: a leak report lists it. A session that is there does not fail for it."""
    if not key_id:
        return
    keys, sae = service.keys(line)
    keys.close()
    try:
        service.client().consume([key_id], sae=sae, purpose=purpose, reference=reference)
    except WorkbenchError as error:
        service.host.log_fault(error)


def is_withdrawn(service: ChannelService, key_id: str) -> bool:
    """Whether the entity has taken a key out of use. Raises what asking it raises: a session must not begin unasked."""
    return bool(key_id) and service.client().key(key_id).state in WITHDRAWN


__all__ = ["consumed", "far_application", "fresh", "is_withdrawn", "named", "origins", "require_counting", "short", "suites", "terms"]
