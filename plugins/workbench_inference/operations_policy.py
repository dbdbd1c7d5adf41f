"""What staff do with scenarios, templates, rules of content, access, invited customers and quotas. Document: docs/sandbox-policy.md."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from workbench.contracts import ConsentRegistry, FindsCustomers, OperationContext, Transaction
from workbench.crypto import canonical
from workbench.domain.identifiers import parse_phone
from workbench.domain.party import Role
from workbench.errors import InvalidRequest, NotFound, Refused
from workbench.intake import parse_audience
from workbench.operations import NoInput, Operation, Request
from workbench_inference.policy import content, feedback, scenarios, stages, tables
from workbench_inference.policy.access import ANY, role_for
from workbench_inference.policy.cohort import HARD_CAP, cap_of
from workbench_inference.policy.customers import CustomerNames
from workbench_inference.policy.quota import CUSTOMER
from workbench_inference.policy.replies import (
    AccessCell,
    AccessReply,
    ChangeAccess,
    ChangeCohort,
    ChangeQuota,
    CohortEnd,
    CohortReply,
    ConfirmRules,
    ConfirmTemplate,
    FeedbackLine,
    FeedbackReason,
    FeedbackReply,
    FeedbackRequest,
    ProposeRules,
    ProposeTemplate,
    QuotaLine,
    QuotaReply,
    RuleInfo,
    RulesText,
    RulesVersion,
    ScenarioInfo,
    ScenariosReply,
    TemplateName,
    TemplateText,
    TemplateVersion,
)
from workbench_inference.policy.scenarios import SCENARIOS, Template
from workbench_inference.policy.tables import RULES, RULES_NAME, TEMPLATE, Version
from workbench_inference.roles import at_tenant

SHANGHAI: Final = ZoneInfo("Asia/Shanghai")
DECIDERS: Final = frozenset({Role.COMPLIANCE, Role.APPROVER})
ASKERS: Final = frozenset({Role.ADVISER, Role.MARKETING, Role.COMPLIANCE, Role.OPERATOR, Role.AUDITOR})
READERS: Final = ASKERS | DECIDERS | {Role.ADMIN, Role.REGULATOR}
INVITERS: Final = frozenset({Role.COMPLIANCE, Role.ADMIN})
QUOTA_KEEPERS: Final = frozenset({Role.ADMIN, Role.OPERATOR})


def _host(ctx: OperationContext) -> Any:  # Any: the node, with its lists and consent registry beside contracts.Host
    return ctx.host


# ---- scenarios, templates, rules


def _scenarios(ctx: OperationContext, request: NoInput) -> ScenariosReply:
    host = _host(ctx)
    with host.store.read() as reader:
        rows = tables.versions(reader)
        rules = tables.rules_in_force(reader, host)
        run = {name: tables.template_in_force(reader, host, name, "run") for name in SCENARIOS}
        debug = {name: tables.template_in_force(reader, host, name, "debug").version for name in SCENARIOS}
    return ScenariosReply(
        scenarios=[
            ScenarioInfo(
                scenario=one.name, zh=one.zh, en=one.en, data_class=one.klass, roles=sorted(one.roles), kinds=list(one.kinds),
                asks_client_class=one.asks_client_class, is_draft=one.is_draft, open_to_clients=one.clients, run=run[one.name].version, debug=debug[one.name],
                disclaimer_zh=run[one.name].disclaimer["zh"], disclaimer_en=run[one.name].disclaimer["en"], rules=sum(one.name in rule.scenarios for rule in rules.rules),
            )
            for one in scenarios.scenarios().values()
        ],
        templates=[_version(ctx, one, rows) for one in rows], rules_version=rules.version, rules_digest=rules.digest,
        rules=[
            RuleInfo(
                name=one.name, zh=one.zh, en=one.en, why=one.why, stages=sorted(one.stages, reverse=True), scenarios=sorted(one.scenarios, key=SCENARIOS.index),
                channels=sorted(one.channels), patterns=len(one.patterns),
            )
            for one in rules.rules
        ],
    )  # fmt: skip


def _template(ctx: OperationContext, request: TemplateName) -> TemplateText:
    host = _host(ctx)
    with host.store.read() as reader:
        rows = tables.versions(reader, TEMPLATE, request.scenario)
        found, told = _found(ctx, reader, rows, request.scenario, request.version)
        now = tables.template_in_force(reader, host, request.scenario, "run")
    return TemplateText(
        version=told, text_zh=found.text["zh"], text_en=found.text["en"], disclaimer_zh=found.disclaimer["zh"], disclaimer_en=found.disclaimer["en"],
        client_disclaimer_zh=found.client_disclaimer["zh"], client_disclaimer_en=found.client_disclaimer["en"], before_zh=now.text["zh"], before_en=now.text["en"],
    )  # fmt: skip


def _found(ctx: OperationContext, reader: Any, rows: list[Version], scenario: str, number: int) -> tuple[Template, TemplateVersion]:
    delivered = scenarios.scenarios()[scenario].template
    if number == delivered.version:
        is_run = not any(one.state == "published" and one.mode == "run" for one in rows)
        told = TemplateVersion(
            kind=TEMPLATE, name=scenario, version=number, digest=delivered.digest, state="delivered", mode="run", in_force=is_run, first="", second="", made_ms=0,
            may_publish=False, may_promote=False,
        )  # fmt: skip
        return delivered, told
    row = tables.version(reader, TEMPLATE, scenario, number)
    return tables.template_of(reader, _host(ctx), row), _version(ctx, row, rows)


def _propose(ctx: OperationContext, request: ProposeTemplate) -> TemplateVersion:
    for name in ("text_zh", "text_en", "disclaimer_zh", "disclaimer_en", "client_disclaimer_zh", "client_disclaimer_en"):
        wrong = scenarios.check_text(getattr(request, name), needs_question=name.startswith("text"))
        if wrong:
            zh, en = wrong.split("\n")
            raise InvalidRequest(f"{name}：{zh}", f"{name}: {en}", code="TEMPLATE_MALFORMED")
    host = _host(ctx)

    def change(tx: Transaction) -> Version:
        number = tables.next_version(tx, TEMPLATE, request.scenario)
        made = Template(
            request.scenario, number, {"zh": request.text_zh, "en": request.text_en}, {"zh": request.disclaimer_zh, "en": request.disclaimer_en},
            {"zh": request.client_disclaimer_zh, "en": request.client_disclaimer_en},
        )  # fmt: skip
        return tables.propose(
            host, tx, kind=TEMPLATE, name=request.scenario, data=made.encoded(), number=number, actor=ctx.caller.person.token, reason=request.reason
        )

    return _version_now(ctx, host.store.write(change))


def _publish(ctx: OperationContext, request: ConfirmTemplate) -> TemplateVersion:
    return _put_into_force(ctx, TEMPLATE, request.scenario, request)


def _promote(ctx: OperationContext, request: ConfirmTemplate) -> TemplateVersion:
    host, actor = _host(ctx), ctx.caller.person.token
    return _version_now(ctx, host.store.write(lambda tx: tables.promote(host, tx, name=request.scenario, number=request.version, digest=request.digest, actor=actor)))


def _rules(ctx: OperationContext, request: RulesVersion) -> RulesText:
    host = _host(ctx)
    with host.store.read() as reader:
        rows = tables.versions(reader, RULES, RULES_NAME)
        published = [one for one in rows if one.state == "published"]
        number = request.version or (published[0].version if published else 1)
        if number == 1:
            told = TemplateVersion(
                kind=RULES, name=RULES_NAME, version=1, digest=content.delivered().digest, state="delivered", mode="run", in_force=not published, first="", second="",
                made_ms=0, may_publish=False, may_promote=False,
            )  # fmt: skip
            return RulesText(version=told, text=content.delivered_text())
        row = tables.version(reader, RULES, RULES_NAME, number)
        return RulesText(version=_version(ctx, row, rows), text=json.dumps(json.loads(tables.text_of(reader, host, row)), ensure_ascii=False, indent=1))


def _propose_rules(ctx: OperationContext, request: ProposeRules) -> TemplateVersion:
    host = _host(ctx)
    content.parse(request.text)  # says what is wrong with it, by rule
    value: dict[str, Any] = json.loads(request.text)

    def change(tx: Transaction) -> Version:
        number = tables.next_version(tx, RULES, RULES_NAME)
        data = canonical.format(value | {"version": number})
        return tables.propose(host, tx, kind=RULES, name=RULES_NAME, data=data, number=number, actor=ctx.caller.person.token, reason=request.reason)

    return _version_now(ctx, host.store.write(change))


def _publish_rules(ctx: OperationContext, request: ConfirmRules) -> TemplateVersion:
    return _put_into_force(ctx, RULES, RULES_NAME, request)


def _put_into_force(ctx: OperationContext, kind: str, name: str, request: ConfirmTemplate | ConfirmRules) -> TemplateVersion:
    host, actor = _host(ctx), ctx.caller.person.token
    made = host.store.write(lambda tx: tables.publish(host, tx, kind=kind, name=name, number=request.version, digest=request.digest, actor=actor))
    return _version_now(ctx, made)


def _version_now(ctx: OperationContext, row: Version) -> TemplateVersion:
    with _host(ctx).store.read() as reader:
        return _version(ctx, row, tables.versions(reader, row.kind, row.name))


def _version(ctx: OperationContext, row: Version, rows: list[Version]) -> TemplateVersion:
    """rows: of the same kind and name at least, newest first."""
    me, mine = ctx.caller.person.token, ctx.caller.person.roles
    of = [one for one in rows if (one.kind, one.name) == (row.kind, row.name) and one.state == "published" and one.mode == row.mode]
    return TemplateVersion(
        kind=row.kind, name=row.name, version=row.version, digest=row.digest, state=row.state, mode=row.mode, in_force=bool(of) and of[0].version == row.version,
        first=_host(ctx).person_named(row.first) if row.first else "", second=_host(ctx).person_named(row.second) if row.second else "", made_ms=row.made_ms,
        may_publish=row.state == "proposed" and row.first != me and bool(DECIDERS & mine),
        may_promote=row.kind == TEMPLATE and row.state == "published" and row.mode == "debug" and row.first != me and Role.APPROVER in mine,
    )  # fmt: skip


# ---- access


def _access(ctx: OperationContext, request: NoInput) -> AccessReply:
    host = _host(ctx)
    asking = sorted(role for role in Role if role not in tables.NEVER_ASK)
    with host.store.read() as reader:
        rules = tables.access_rules(reader, host)
        signed = tables.models(reader)
        rows = {(row[0], row[1], row[2]): row for row in reader.execute("SELECT role, scenario, model, since_ms, by FROM inference_access")}
    named = sorted({model for _, _, model in rows} - {ANY, *signed})
    models = [ANY, *signed, *named]
    cells = []
    for role in asking:
        for scenario in SCENARIOS:
            for model in models:
                row = rows.get((role.value, scenario, model))
                # A cell for every model says what an unknown model would get.
                is_allowed = role_for(rules, roles=frozenset({role}), scenario=scenario, model="-" if model == ANY else model) is not None
                is_default = rules.defaults and role in scenarios.scenarios()[scenario].roles
                covered = row is not None or (role.value, scenario, ANY) in rows
                cells.append(
                    AccessCell(
                        role=role.value, scenario=scenario, model=model, allowed=is_allowed, origin="row" if covered else "default" if is_default else "nobody",
                        since_ms=int(row[3]) if row else 0, by=_host(ctx).person_named(row[4]) if row and row[4] else "",
                    )
                )  # fmt: skip
    return AccessReply(defaults=rules.defaults, roles=[one.value for one in asking], scenarios=list(SCENARIOS), models=models, cells=cells)


def _change_access(ctx: OperationContext, request: ChangeAccess) -> AccessReply:
    model = tables.require_model(request.model)
    _host(ctx).store.write(
        lambda tx: tables.change_access(
            _host(ctx), tx, role=request.role, scenario=request.scenario, model=model, allowed=request.allowed, actor=ctx.caller.person.token, reason=request.reason
        )
    )
    return _access(ctx, NoInput())


# ---- invited customers


def _cohort(ctx: OperationContext, request: NoInput) -> CohortReply:
    host, now = _host(ctx), _host(ctx).now_ms()
    with host.store.read() as reader:
        stage = stages.stage(reader)
        ends = Counter(_day(row[0]) for row in reader.execute("SELECT until_ms FROM inference_cohort WHERE until_ms > ?", (now,)))
    people = sum(ends.values())
    return CohortReply(
        people=people, cap=cap_of(int(host.setting("inference.cohort_cap"))), hard_cap=HARD_CAP, stage=stage,
        ends=[CohortEnd(day=day, people=count) for day, count in sorted(ends.items())],
    )  # fmt: skip


def _change_cohort(ctx: OperationContext, request: ChangeCohort) -> CohortReply:
    host, actor = _host(ctx), ctx.caller.person.token
    tokens = _customers(ctx, request)
    if request.action == "invite":
        if request.until_day is None:
            raise InvalidRequest("请写明参加到哪一天", "give the last day of the invitation", code="INVITATION_ENDED")
        until_ms = end_of(request.until_day)
        host.store.write(lambda tx: tables.invite(host, tx, tokens, until_ms=until_ms, actor=actor, reason=request.reason))
    else:
        host.store.write(lambda tx: tables.uninvite(host, tx, tokens, actor=actor, reason=request.reason))
    return _cohort(ctx, NoInput())


def _customers(ctx: OperationContext, request: ChangeCohort) -> list[str]:
    """Tokens of the customers that are meant; customers who restrict processing are not invited."""
    if bool(request.phone.strip()) == bool(request.list_id):
        raise InvalidRequest("请给出一个手机号，或一份名单，二者之一", "give a phone number, or a list: one of them")
    registry: Any = _host(ctx).provider(ConsentRegistry)
    if not isinstance(registry, FindsCustomers):
        raise Refused("授权登记不能按客户查找，因此不能邀请。管理员检查插件", "the consent registry cannot find customers, so nobody can be invited: an administrator checks the plugin", code="NO_CUSTOMER_TOKENS")
    if request.phone.strip():
        phones = [str(parse_phone(request.phone))]
    else:
        frame = _host(ctx).lists.frame(request.list_id)
        chosen = frame.filter(parse_audience(request.audience).select(frame)) if request.audience else frame
        phones = chosen["phone"].drop_nulls().unique().sort().to_list()
    restricted = _host(ctx).restricted_customers()
    tokens = [one for one in registry.tokens_of(phones=phones, id_nos=()) if request.action == "remove" or one not in restricted]
    if not tokens:
        raise NotFound("没有符合的客户，或都限制了处理", "no customer fits, or all of them restrict processing", code="NOBODY_FITS")
    return tokens


def period_of(host: Any, from_day: date | None, to_day: date | None) -> tuple[date, date]:
    """First and last day, the last 30 where neither is given. InvalidRequest for days the wrong way round."""
    last = to_day or host.today()
    first = from_day or last - timedelta(days=29)
    if first > last:
        raise InvalidRequest("时段的起止颠倒了", "the period ends before it begins")
    return first, last


def begin_of(day: date) -> int:
    """When a day begins in Asia/Shanghai, as ms."""
    return end_of(day - timedelta(days=1))


def end_of(day: date) -> int:
    """When a day ends in Asia/Shanghai, as ms."""
    return int(datetime.combine(day + timedelta(days=1), datetime.min.time(), SHANGHAI).timestamp() * 1000)


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp((at_ms - 1) / 1000, UTC).astimezone(SHANGHAI).date().isoformat()


# ---- quotas


def _quota(ctx: OperationContext, request: NoInput) -> QuotaReply:
    host, person = _host(ctx), ctx.caller.person
    month = tables.month_of(host.now_ms())
    with host.store.read() as reader:
        mine = tables.quota_of(reader, host, person.token, is_group=False)
        groups = [tables.quota_of(reader, host, role.value, is_group=True) for role in sorted(person.roles) if role not in tables.NEVER_ASK]
        rows = tables.quotas(reader, month)
        everybody = []
        if QUOTA_KEEPERS & person.roles:
            roles = [role.value for role in sorted(Role) if role not in tables.NEVER_ASK]
            everybody = [tables.quota_of(reader, host, one, is_group=True) for one in roles]
            everybody += [tables.quota_of(reader, host, whose, is_group=False) for whose, _, _ in rows if whose and not whose.startswith(CUSTOMER) and whose not in {role.value for role in Role}]
        set_by_people = {row[0] for row in reader.execute("SELECT whose FROM inference_quota WHERE most >= 0")}
    used = next((used for whose, used, _ in rows if not whose), 0)

    def line(one: Any) -> QuotaLine:
        is_group = one.whose in {role.value for role in Role}
        name = one.whose if is_group else _host(ctx).person_named(one.whose)
        return QuotaLine(whose=name, is_group=is_group, used=one.used, most=one.most, is_set=one.whose in set_by_people)

    return QuotaReply(month=month, mine=line(mine), groups=[line(one) for one in groups], everybody=[line(one) for one in everybody], used=used)


def _change_quota(ctx: OperationContext, request: ChangeQuota) -> QuotaReply:
    if bool(request.person) == bool(request.role):
        raise InvalidRequest("请给出一位员工，或一个岗位，二者之一", "give a member of staff, or a role: one of them")
    whose = request.role.value if request.role else _token_of(ctx, request.person)
    _host(ctx).store.write(lambda tx: tables.change_quota(_host(ctx), tx, whose=whose, most=request.most, actor=ctx.caller.person.token))
    return _quota(ctx, NoInput())


def _token_of(ctx: OperationContext, name: str) -> str:
    with _host(ctx).store.read() as reader:
        row = reader.execute("SELECT token FROM host_person WHERE person = ?", (name,)).fetchone()
    if row is None:
        raise NotFound("没有这个账号", "there is no such account", code="NO_PERSON")
    return str(row[0])


def _feedback(ctx: OperationContext, request: FeedbackRequest) -> FeedbackReply:
    from_day, to_day = period_of(_host(ctx), request.from_day, request.to_day)
    known = CustomerNames(_host(ctx)).now()
    with _host(ctx).store.read() as reader:
        found = feedback.report(reader, known, from_ms=begin_of(from_day), until_ms=end_of(to_day))
    lines = [
        FeedbackLine(
            scenario=one.scenario, template=one.template, model=one.model, asked=one.asked, answered=one.answered, abstained=one.abstained, refused=one.refused,
            up=one.up, down=one.down, reasons=[FeedbackReason(rating=rating, text=text) for rating, text in one.reasons],
        )
        for one in found
    ]  # fmt: skip
    return FeedbackReply(from_day=from_day.isoformat(), to_day=to_day.isoformat(), lines=lines)


def _of_versions(name: str, zh: str, en: str, request: type[Request], run: Any, entry: str, *, roles: frozenset[Role] = DECIDERS) -> Operation:
    """An act on a version of a template or of the rules; whoever puts one into force gives a fresh password."""
    return Operation(
        name=f"inference.{name}", zh=zh, en=en, request=request, reply=TemplateVersion, roles=roles, run=run, fresh_password=not name.endswith("_propose"),
        evidence=(f"inference.{entry}",),
    )


POLICY_OPERATIONS: Final = at_tenant((
    Operation(
        name="inference.scenarios", zh="查看场景、提示词模板与内容规则", en="read scenarios, templates and rules of content", request=NoInput, reply=ScenariosReply,
        roles=READERS, run=_scenarios, weak_token=True, reads_only=True,
    ),
    Operation(
        name="inference.template", zh="查看一版提示词模板", en="read one version of a template", request=TemplateName, reply=TemplateText,
        roles=READERS, run=_template, reads_only=True,
    ),
    _of_versions("template_propose", "提出提示词模板", "propose a prompt template", ProposeTemplate, _propose, "template_proposed"),
    _of_versions("template_publish", "发布另一人提出的模板", "publish a template that another person proposed", ConfirmTemplate, _publish, "template_published"),
    _of_versions("template_promote", "模板由调试转为运行", "promote a template from debug to run", ConfirmTemplate, _promote, "template_promoted", roles=frozenset({Role.APPROVER})),
    Operation(
        name="inference.rules", zh="查看内容规则文件", en="read the file of content rules", request=RulesVersion, reply=RulesText,
        roles=READERS, run=_rules, reads_only=True,
    ),
    _of_versions("rules_propose", "提出内容规则", "propose rules of content", ProposeRules, _propose_rules, "template_proposed"),
    _of_versions("rules_publish", "发布另一人提出的内容规则", "publish rules that another person proposed", ConfirmRules, _publish_rules, "rules_published"),
    Operation(
        name="inference.access", zh="查看岗位 × 场景 × 模型的许可", en="read what each role may ask", request=NoInput, reply=AccessReply,
        roles=READERS, run=_access, reads_only=True,
    ),
    Operation(
        name="inference.access_change", zh="变更岗位 × 场景 × 模型的许可", en="change what a role may ask", request=ChangeAccess, reply=AccessReply,
        roles=DECIDERS, run=_change_access, fresh_password=True, evidence=("inference.access_changed",),
    ),
    Operation(
        name="inference.cohort", zh="查看受邀客户的名额", en="read how many customers are invited", request=NoInput, reply=CohortReply,
        roles=INVITERS | {Role.AUDITOR, Role.REGULATOR, Role.APPROVER}, run=_cohort, reads_only=True,
    ),
    Operation(
        name="inference.cohort_change", zh="邀请或移出客户", en="invite or take out customers", request=ChangeCohort, reply=CohortReply,
        roles=INVITERS, run=_change_cohort, fresh_password=True, evidence=("inference.cohort_changed",),
    ),
    Operation(
        name="inference.quota", zh="查看提问额度", en="read quotas of questions", request=NoInput, reply=QuotaReply,
        roles=ASKERS | QUOTA_KEEPERS, run=_quota, weak_token=True, reads_only=True,
    ),
    Operation(
        name="inference.quota_change", zh="变更提问额度", en="change a quota of questions", request=ChangeQuota, reply=QuotaReply,
        roles=QUOTA_KEEPERS, run=_change_quota, fresh_password=True, evidence=("inference.quota_changed",),
    ),
    Operation(
        name="inference.feedback", zh="查看对回答的评价", en="read what people think of answers", request=FeedbackRequest, reply=FeedbackReply,
        roles=DECIDERS | {Role.OPERATOR, Role.AUDITOR, Role.ADMIN}, run=_feedback, reads_only=True,
    ),
))  # fmt: skip

__all__ = ["DECIDERS", "POLICY_OPERATIONS", "READERS", "begin_of", "end_of", "period_of"]
