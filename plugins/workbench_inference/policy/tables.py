"""Rows of templates, rules, access, cohort and quota, and the acts that change them; each act leaves its entry in the same transaction.

Document: docs/sandbox-policy.md. Texts of templates and rules lie in the vault as `inference/<kind>/<name>/<version>`; a row has
their digest, and a text that does not have it is not used.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from workbench.contracts import Host, Transaction
from workbench.crypto import canonical, sm3
from workbench.domain.party import ROLE_NAMES, Role
from workbench.errors import Denied, InvalidRequest, NotFound, Refused, VerificationError
from workbench_inference.policy import content, scenarios
from workbench_inference.policy.access import ANY, AccessRules
from workbench_inference.policy.cohort import cap_of, require_room
from workbench_inference.policy.quota import CUSTOMER, Quota, require_left
from workbench_inference.policy.scenarios import SCENARIOS, Template

Reader = sqlite3.Connection | Transaction
TEMPLATE: Final = "template"
RULES: Final = "rules"
RULES_NAME: Final = "content"
NEVER_ASK: Final = frozenset({Role.REGULATOR, Role.PROVIDER_OPERATOR, Role.ADMIN, Role.APPROVER})
"""Roles that ask no model: who approves, administers or supervises does not use what they decide about."""

_SHANGHAI: Final = ZoneInfo("Asia/Shanghai")
_VERSION: Final = "kind, name, version, digest, state, mode, first, second, made_ms"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a template or of the rules. state: proposed, published or retired; mode: debug or run; version 1 is the
    delivered one and has no row. first, second: tokens of who proposed and who confirmed."""

    kind: str
    name: str
    version: int
    digest: str
    state: str
    mode: str
    first: str
    second: str
    made_ms: int


def month_of(now_ms: int) -> str:
    """'yyyy-mm' of a time in Asia/Shanghai."""
    return datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(_SHANGHAI).strftime("%Y-%m")


# ---- templates and rules


def versions(reader: Reader, kind: str = "", name: str = "") -> list[Version]:
    """Newest first."""
    rows = reader.execute(
        f"SELECT {_VERSION} FROM inference_template WHERE (?1 = '' OR kind = ?1) AND (?2 = '' OR name = ?2) ORDER BY kind DESC, name, version DESC", (kind, name)
    ).fetchall()
    return [Version(*row) for row in rows]


def version(reader: Reader, kind: str, name: str, number: int) -> Version:
    """One of them; NotFound NO_TEMPLATE."""
    for one in versions(reader, kind, name):
        if one.version == number:
            return one
    raise NotFound("没有这个版本的模板或规则", "there is no such version of a template or of the rules", code="NO_TEMPLATE")


def template_in_force(reader: Reader, host: Host, scenario: str, mode: str) -> Template:
    """What is asked with. mode: of the lease; in `run` only promoted versions count, in `debug` every published one."""
    for one in versions(reader, TEMPLATE, scenario):
        if one.state == "published" and (one.mode == "run" or mode == "debug"):
            return template_of(reader, host, one)
    return scenarios.scenarios()[scenario].template


def template_of(reader: Reader, host: Host, row: Version) -> Template:
    """The template of a row. Raises VerificationError TEMPLATE_ALTERED where its text is not what was confirmed."""
    return scenarios.decode(text_of(reader, host, row))


def rules_in_force(reader: Reader, host: Host) -> content.Rules:
    """The newest published rules, else those delivered."""
    for one in versions(reader, RULES, RULES_NAME):
        if one.state == "published":
            return content.parse(text_of(reader, host, one).decode())
    return content.delivered()


def propose(host: Host, tx: Transaction, *, kind: str, name: str, data: bytes, number: int, actor: str, reason: str) -> Version:
    """Write down a new version for another person to confirm. data: what is hashed and kept."""
    made = Version(kind, name, number, sm3.digest(data).hex(), "proposed", "debug", actor, "", host.now_ms())
    tx.execute(
        f"INSERT INTO inference_template ({_VERSION}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (kind, name, number, made.digest, made.state, made.mode, actor, "", made.made_ms),
    )
    host.vault.put(tx, _place(made), data)
    host.evidence.append(tx, "inference.template_proposed", {"name": _told(made), "version": str(number), "digest": made.digest, "reason": reason}, actor=actor)
    return made


def next_version(reader: Reader, kind: str, name: str) -> int:
    """The number of the next one; the delivered version is 1."""
    known = versions(reader, kind, name)
    return known[0].version + 1 if known else 2


def publish(host: Host, tx: Transaction, *, kind: str, name: str, number: int, digest: str, actor: str) -> Version:
    """Confirm what another person proposed. digest: of what was read, so that nobody confirms what they did not see.

    Raises Denied SELF_APPROVAL; Refused WRONG_STATE, TEMPLATE_CHANGED; VerificationError TEMPLATE_ALTERED.
    """
    row = version(tx, kind, name, number)
    if row.state != "proposed":
        raise _wrong_state(row)
    if actor == row.first:
        raise Denied("这是你自己提出的，须由另一个人发布", "you proposed this; another person must publish it", code="SELF_APPROVAL")
    if digest != row.digest:
        raise Refused("你看到的不是要发布的这一版：刷新后再看一遍", "what you read is not the version to be published: read it again", code="TEMPLATE_CHANGED")
    text_of(tx, host, row)
    # Rules hold in both modes at once; a template is tried in debug first (row J10).
    mode = "run" if kind == RULES else "debug"
    tx.execute("UPDATE inference_template SET state = 'published', mode = ?, second = ? WHERE kind = ? AND name = ? AND version = ?", (mode, actor, kind, name, number))
    what = "inference.rules_published" if kind == RULES else "inference.template_published"
    host.evidence.append(tx, what, {"name": _told(row), "version": str(number), "digest": row.digest, "first": row.first, "second": actor}, actor=actor)
    return version(tx, kind, name, number)


def promote(host: Host, tx: Transaction, *, name: str, number: int, digest: str, actor: str) -> Version:
    """From debug to run, by an approver who did not write it (row J10). Raises as `publish`."""
    row = version(tx, TEMPLATE, name, number)
    if row.state != "published" or row.mode != "debug":
        raise _wrong_state(row)
    if actor == row.first:
        raise Denied("这是你自己写的，须由另一位审批岗转为运行", "you wrote this; another approver must promote it", code="SELF_APPROVAL")
    if digest != row.digest:
        raise Refused("你看到的不是要转为运行的这一版：刷新后再看一遍", "what you read is not the version to be promoted: read it again", code="TEMPLATE_CHANGED")
    text_of(tx, host, row)
    tx.execute("UPDATE inference_template SET mode = 'run' WHERE kind = ? AND name = ? AND version = ?", (TEMPLATE, name, number))
    host.evidence.append(tx, "inference.template_promoted", {"name": _told(row), "version": str(number), "digest": row.digest, "author": row.first}, actor=actor)
    return version(tx, TEMPLATE, name, number)


def text_of(reader: Reader, host: Host, row: Version) -> bytes:
    """What is kept of a version. Raises VerificationError TEMPLATE_ALTERED."""
    data = host.vault.get(reader, _place(row))
    if sm3.digest(data).hex() != row.digest:
        raise VerificationError(
            f"{_told(row)} 第 {row.version} 版与确认时不同，不能使用：合规岗重新发布", f"version {row.version} of {_told(row)} is not what was confirmed and is not used: compliance publishes it anew",
            code="TEMPLATE_ALTERED",
        )  # fmt: skip
    return data


def _place(row: Version) -> str:
    return f"inference/{row.kind}/{row.name}/{row.version}"


def _told(row: Version) -> str:
    return "content-rules" if row.kind == RULES else row.name


def _wrong_state(row: Version) -> Refused:
    state = {"proposed": ("待发布", "waiting to be published"), "published": ("已发布", "published"), "retired": ("已停用", "retired")}[row.state]
    return Refused(f"这一版现在是「{state[0]}」，不能做这一步", f"this version is {state[1]}: this step is not possible now", code="WRONG_STATE", details={"state": row.state})


# ---- access


def access_rules(reader: Reader, host: Host) -> AccessRules:
    """What people set; the scenarios' own roles count beside it except in a production workspace."""
    rows = reader.execute("SELECT role, scenario, model, allowed FROM inference_access").fetchall()
    return AccessRules({(row[0], row[1], row[2]): bool(row[3]) for row in rows}, defaults=host.kind != "production")


def change_access(host: Host, tx: Transaction, *, role: Role, scenario: str, model: str, allowed: bool, actor: str, reason: str) -> None:
    """Refused ROLE_NEVER_ASKS for a role that asks no model."""
    if allowed and role in NEVER_ASK:
        zh, en = ROLE_NAMES[role]
        raise Refused(f"{zh}不提问，不能许可", f"a {en} asks no model, so this cannot be allowed", code="ROLE_NEVER_ASKS", details={"role": role.value})
    tx.execute(
        "INSERT INTO inference_access (role, scenario, model, allowed, since_ms, by) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (role, scenario, model)"
        " DO UPDATE SET allowed = excluded.allowed, since_ms = excluded.since_ms, by = excluded.by",
        (role.value, scenario, model, int(allowed), host.now_ms(), actor),
    )
    values = {"role": role.value, "scenario": scenario, "model": model, "allowed": str(int(allowed)), "reason": reason}
    host.evidence.append(tx, "inference.access_changed", values, actor=actor)


# ---- cohort


def cohort_size(reader: Reader, now_ms: int) -> int:
    """Customers whose invitation has not ended."""
    return int(reader.execute("SELECT count(*) FROM inference_cohort WHERE until_ms > ?", (now_ms,)).fetchone()[0])


def is_invited(reader: Reader, tokens: Sequence[str], now_ms: int) -> bool:
    """Whether one of a customer's tokens stands in the cohort."""
    return any(reader.execute("SELECT 1 FROM inference_cohort WHERE person = ? AND until_ms > ?", (one, now_ms)).fetchone() is not None for one in tokens)


def invite(host: Host, tx: Transaction, tokens: Sequence[str], *, until_ms: int, actor: str, reason: str) -> int:
    """Invite customers, all or none; how many take part then. Refused COHORT_FULL, COHORT_CAP, INVITATION_ENDED."""
    now, cap = host.now_ms(), cap_of(int(host.setting("inference.cohort_cap")))
    if until_ms <= now:
        raise Refused("邀请的截止时间已过", "the end of the invitation is in the past", code="INVITATION_ENDED")
    tx.execute("DELETE FROM inference_cohort WHERE until_ms <= ?", (now,))
    fresh = [one for one in dict.fromkeys(tokens) if not is_invited(tx, [one], now)]
    require_room(cohort_size(tx, now), len(fresh), cap)
    tx.executemany(
        "INSERT INTO inference_cohort (person, invited_by, since_ms, until_ms) VALUES (?, ?, ?, ?) ON CONFLICT (person) DO UPDATE SET until_ms = excluded.until_ms",
        [(one, actor, now, until_ms) for one in dict.fromkeys(tokens)],
    )
    return _cohort_changed(host, tx, "invited", cap, actor=actor, reason=reason)


def uninvite(host: Host, tx: Transaction, tokens: Sequence[str], *, actor: str, reason: str) -> int:
    """Take customers out at once; how many take part then."""
    tx.executemany("DELETE FROM inference_cohort WHERE person = ?", [(one,) for one in tokens])
    return _cohort_changed(host, tx, "removed", cap_of(int(host.setting("inference.cohort_cap"))), actor=actor, reason=reason)


def forget_customer(tx: Transaction, tokens: Sequence[str]) -> int:
    """For an erasure: how many rows of the cohort were this customer's and are gone; their count of questions goes too."""
    tx.executemany("DELETE FROM inference_quota WHERE whose = ?", [(f"{CUSTOMER}{one}",) for one in tokens])
    return sum(tx.execute("DELETE FROM inference_cohort WHERE person = ?", (one,)).rowcount for one in tokens)


def invitations(reader: Reader, tokens: Sequence[str]) -> list[tuple[int, int]]:
    """(since, until) of a customer's invitations."""
    rows = (reader.execute("SELECT since_ms, until_ms FROM inference_cohort WHERE person = ?", (one,)).fetchone() for one in tokens)
    return [(int(row[0]), int(row[1])) for row in rows if row is not None]


def _cohort_changed(host: Host, tx: Transaction, action: str, cap: int, *, actor: str, reason: str) -> int:
    people = cohort_size(tx, host.now_ms())
    host.evidence.append(tx, "inference.cohort_changed", {"action": action, "people": str(people), "cap": str(cap), "reason": reason}, actor=actor)
    return people


# ---- quota


def quota_of(reader: Reader, host: Host, whose: str, *, is_group: bool) -> Quota:
    """What is left this month. The limit is the newest one that people set for this month or an earlier one, else the setting's."""
    month = month_of(host.now_ms())
    used = reader.execute("SELECT used FROM inference_quota WHERE whose = ? AND month = ?", (whose, month)).fetchone()
    most = reader.execute("SELECT most FROM inference_quota WHERE whose = ? AND month <= ? AND most >= 0 ORDER BY month DESC LIMIT 1", (whose, month)).fetchone()
    name = "inference.most_per_group" if is_group else "inference.most_per_customer" if whose.startswith(CUSTOMER) else "inference.most_per_person"
    setting = int(host.setting(name))
    return Quota(whose, month, int(used[0]) if used else 0, int(most[0]) if most else setting)


def spend(host: Host, tx: Transaction, *, person: str, role: str) -> None:
    """One question more for a person, a role and the institution, in the transaction of its entry.

    Raises Refused QUOTA_SPENT where others have used up what was left since it was admitted: of a hundred at once none goes beyond.
    """
    month = month_of(host.now_ms())
    require_left(quota_of(tx, host, person, is_group=False), quota_of(tx, host, role, is_group=True), ROLE_NAMES[Role(role)])
    for whose in (person, role, ""):
        tx.execute(
            "INSERT INTO inference_quota (whose, month, used) VALUES (?, ?, 1) ON CONFLICT (whose, month) DO UPDATE SET used = used + 1", (whose, month)
        )


def change_quota(host: Host, tx: Transaction, *, whose: str, most: int, actor: str) -> Quota:
    """From this month on; -1: the setting's again."""
    month = month_of(host.now_ms())
    if most < 0:
        tx.execute("UPDATE inference_quota SET most = -1 WHERE whose = ?", (whose,))
    else:
        tx.execute("INSERT INTO inference_quota (whose, month, most) VALUES (?, ?, ?) ON CONFLICT (whose, month) DO UPDATE SET most = excluded.most", (whose, month, most))
    is_group = whose in {role.value for role in Role}
    now = quota_of(tx, host, whose, is_group=is_group)
    host.evidence.append(tx, "inference.quota_changed", {"of": whose, "limit": str(now.most), "used": str(now.used)}, actor=actor)
    return now


def quotas(reader: Reader, month: str) -> list[tuple[str, int, int]]:
    """(whose, used, most) of a month."""
    return [(row[0], int(row[1]), int(row[2])) for row in reader.execute("SELECT whose, used, most FROM inference_quota WHERE month = ? ORDER BY whose", (month,))]


def models(reader: Reader) -> list[str]:
    """Names of the images that were signed, each once."""
    found: set[str] = set()
    for row in reader.execute("SELECT manifest FROM inference_image"):
        value: Any = canonical.parse(bytes(row[0]))
        found.add(str(value["name"]))
    return sorted(found)


def require_scenario(name: str) -> scenarios.Scenario:
    """NotFound NO_SCENARIO for a name that is none."""
    if name not in SCENARIOS:
        raise NotFound("没有这个场景", "there is no such scenario", code="NO_SCENARIO")
    return scenarios.scenarios()[name]


def require_model(name: str) -> str:
    """A name of an image, or * for every model. Raises InvalidRequest."""
    if name == ANY or (0 < len(name) <= 63 and name[0].isalpha() and all(one.islower() or one.isdigit() or one == "-" for one in name)):
        return name
    raise InvalidRequest("模型名为小写字母、数字与连字符，或 *", "a model is named by lower-case letters, digits and dashes, or *", code="MODEL_NAME")


__all__ = [
    "NEVER_ASK", "RULES", "RULES_NAME", "TEMPLATE", "Version", "access_rules", "change_access", "change_quota", "cohort_size", "forget_customer", "invitations", "invite", "is_invited",
    "models", "month_of", "next_version", "promote", "propose", "publish", "quota_of", "quotas", "require_model", "require_scenario", "rules_in_force", "spend", "template_in_force",
    "template_of", "text_of", "uninvite", "version", "versions",
]  # fmt: skip
