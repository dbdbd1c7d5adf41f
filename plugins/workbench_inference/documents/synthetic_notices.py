"""Announcements of the synthetic corpus: dividends, people, fees, suspensions and other changes, each in several wordings.

What an announcement changes holds from the day it names, so that an older document of the fund is then out of date.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Final

from workbench_inference.documents.synthetic_funds import SyntheticFund, person
from workbench_inference.documents.synthetic_phrases import LABEL_LINES
from workbench_inference.documents.synthetic_text import (
    DATE_STYLES,
    PERCENT_STYLES,
    Value,
    Writer,
    shown_date,
    shown_percent,
)
from workbench_inference.documents.synthetic_words import RISK_WORDS


@dataclass(frozen=True, slots=True)
class Notice:
    """One announcement. changes: field -> (value, unit) as they hold from `since` on; title without the label."""

    title: str
    day: date
    since: date
    writer: Writer = field(repr=False)
    changes: dict[str, tuple[str, str]]
    fund: SyntheticFund
    """The fund as it is afterwards."""


@dataclass(frozen=True, slots=True)
class _Setting:
    fund: SyntheticFund
    day: date
    random: Random
    date_style: str
    rate: str
    writer: Writer
    values: dict[str, Value]

    def date(self, name: str, day: date) -> None:
        self.values[name] = Value(shown_date(day, self.date_style))

    def say(self, *templates: str) -> None:
        """One of the templates as a line of its own."""
        self.writer.line(self.random.choice(templates), self.values)


def write_notice(fund: SyntheticFund, day: date, random: Random) -> Notice:
    """One announcement about a fund, made public on `day`."""
    setting = _Setting(
        fund, day, random, random.choice(DATE_STYLES[:3]), random.choice(PERCENT_STYLES), Writer(),
        {"fund_name": Value(fund.name), "fund_code": Value(fund.code), "short_name": Value(fund.short), "management_company": Value(fund.company)},
    )  # fmt: skip
    setting.date("notice_date", day)
    kinds = [make for make in _NOTICES if not (fund.risk == "R1" and make in (_dividend, _nav_error))]
    make = random.choice(kinds)
    setting.say(
        "{=management_company}关于" + _NAMES[make] + "的公告",
        "公告送出日期：{notice_date}\n",
        "{=short_name}：" + _NAMES[make] + "公告",
        "【临时公告】" + _NAMES[make],
    )
    if random.random() < 0.5:
        setting.say("1 公告基本信息\n基金名称：{fund_name}\n基金主代码：{fund_code}", "| 基金名称 | {fund_name} |\n|---|---|\n| 基金代码 | {fund_code} |")
    else:
        setting.say("现就{fund_name}（基金代码：{fund_code}）有关事项公告如下：", "{fund_name}（{fund_code}）份额持有人：", "管理人就旗下产品{fund_name}（代码{fund_code}）说明如下。")
    since, changes, after = make(setting)
    setting.say(
        "本公告未尽事宜，请查阅招募说明书及其更新。",
        "投资者可拨打客户服务电话或登录管理人网站咨询。",
        "风险提示：管理人不保证基金一定盈利，请投资者审慎选择。",
        "特此公告。\n{management_company}\n{notice_date}",
    )
    setting.writer.put(random.choice(LABEL_LINES) + "\n")
    return Notice(f"{fund.short}：{_NAMES[make]}公告", day, since, setting.writer, changes, after)


_Changed = tuple[date, dict[str, tuple[str, str]], SyntheticFund]


def _percent(setting: _Setting, name: str, value: Decimal) -> None:
    setting.values[name] = shown_percent(value, setting.rate)


def _dividend(setting: _Setting) -> _Changed:
    each = Decimal(setting.random.randrange(15, 900)) / 1000
    record = setting.day + timedelta(days=setting.random.randrange(2, 6))
    setting.values["dividend"] = Value(f"{each:.3f}", "元/10份")
    for name, day in (("record_date", record), ("ex_date", record), ("pay_date", record + timedelta(days=2))):
        setting.date(name, day)
    setting.values["dividend_number"] = Value(str(setting.random.randrange(1, 9)))
    setting.say(
        "本次为第{dividend_number}次分红，每10份基金份额派发现金红利{dividend}元。权益登记日：{record_date}；除息日：{ex_date}；现金红利发放日：{pay_date}。",
        "| 分红方案（元/10份） | {dividend} |\n| 权益登记日 | {record_date} |\n| 除息日 | {ex_date} |\n| 发放日 | {pay_date} |",
        "收益分配方案为：每10份派{dividend}元，登记在{record_date}名册上的持有人有权参与，红利款于{pay_date}从托管账户划出。",
    )
    setting.say("选择红利再投资的，其份额将于除息日的次日直接计入账户。", "本次分红免收手续费；红利再投资所得份额免申购费。")
    changes = {"dividend": (f"{each:.3f}", "元/10份"), "record_date": (record.isoformat(), ""), "pay_date": ((record + timedelta(days=2)).isoformat(), "")}
    return setting.day, changes, setting.fund


def _manager(setting: _Setting) -> _Changed:
    fund = setting.fund
    name, english = person(setting.random)
    while name == fund.manager:
        name, english = person(setting.random)
    since = setting.day + timedelta(days=setting.random.choice((0, 0, 1, 3)))
    setting.values.update({"manager": Value(name), "old_manager": Value(fund.manager)})
    setting.date("effective_date", since)
    setting.values["years"] = Value(str(setting.random.randrange(4, 19)))
    setting.say(
        "{old_manager}因个人原因不再担任本基金基金经理，自{effective_date}起由{manager}接任。",
        "新任基金经理：{manager}\n离任基金经理：{old_manager}\n任职日期：{effective_date}\n证券从业年限：{years}年",
        "经管理人研究决定，增聘{manager}为本基金基金经理，{old_manager}同日离任，变更自{effective_date}生效。",
    )
    setting.say("上述事项已按规定办理注册手续。", "{=manager}具有{years}年证券从业经历，曾任研究员、投资经理。")
    return since, {"manager": (name, "")}, replace(fund, manager=name, manager_en=english)


def _fee(setting: _Setting) -> _Changed:
    fund = setting.fund
    which = setting.random.choice(("management_fee", "custody_fee"))
    old = fund.management_fee if which == "management_fee" else fund.custody_fee
    new = (old * setting.random.choice((Decimal("0.5"), Decimal("0.8"), Decimal("0.6")))).quantize(Decimal("0.01"))
    if new == old:
        new = old + Decimal("0.01")
    since = setting.day + timedelta(days=setting.random.choice((1, 3, 5)))
    word = "管理费" if which == "management_fee" else "托管费"
    _percent(setting, f"old_{which}", old)
    _percent(setting, which, new)
    setting.date("effective_date", since)
    setting.say(
        f"自{{effective_date}}起，本基金的{word}年费率由{{old_{which}}}调低至{{{which}}}。",
        f"| | 调整前 | 调整后 |\n|---|---|---|\n| {word}率 | {{old_{which}}} | {{{which}}} |\n生效日期：{{effective_date}}",
        f"为更好地满足投资者需求，管理人决定将{word}率下调为{{{which}}}（原{{old_{which}}}），自{{effective_date}}起实施。",
        f"调整后的{word}按前一日资产净值的{{{which}}}年费率计提，原费率{{old_{which}}}自{{effective_date}}起不再适用。",
    )
    setting.say("本次调整对持有人利益无实质性不利影响，无需召开持有人大会。", "基金合同、托管协议相应条款同时修订。")
    after = replace(fund, management_fee=new) if which == "management_fee" else replace(fund, custody_fee=new)
    return since, {which: (f"{new:.2f}", "%")}, after


def _suspend(setting: _Setting) -> _Changed:
    since = setting.day + timedelta(days=setting.random.randrange(1, 5))
    limit = setting.random.choice(("1000", "5000", "10000", "100000", "1000000"))
    setting.values["limit"] = Value(limit, "元")
    setting.date("suspend_date", since)
    setting.date("resume_date", since + timedelta(days=setting.random.randrange(5, 40)))
    setting.say(
        "自{suspend_date}起暂停大额申购、转换转入及定期定额投资，单日单个账户累计金额不超过{limit}元。",
        "暂停申购起始日：{suspend_date}\n限制申购金额（单位：元）：{limit}\n恢复日：{resume_date}\n原因：保证基金平稳运作",
        "为保护持有人利益，{suspend_date}起单个账户日累计申购超过{limit}元的部分，管理人有权拒绝；预计{resume_date}恢复。",
    )
    setting.say("赎回业务照常办理。", "暂停期间，赎回、转换转出等业务正常进行。")
    return since, {"suspend_date": (since.isoformat(), ""), "limit": (limit, "元")}, setting.fund


def _resume(setting: _Setting) -> _Changed:
    since = setting.day + timedelta(days=1)
    setting.date("resume_date", since)
    setting.say("自{resume_date}起恢复办理申购、转换转入业务，不再设单日上限。", "恢复申购日：{resume_date}\n恢复定期定额投资日：{resume_date}", "此前的大额申购限制自{resume_date}起取消。")
    return since, {"resume_date": (since.isoformat(), "")}, setting.fund


def _risk(setting: _Setting) -> _Changed:
    fund = setting.fund
    old = int(fund.risk[1])
    new = old + 1 if old < 5 and (old == 1 or setting.random.random() < 0.7) else old - 1
    risk = f"R{new}"
    setting.values.update({
        "risk_class": Value(risk), "old_risk_class": Value(fund.risk), "risk_word": Value(RISK_WORDS[risk][0]), "old_word": Value(RISK_WORDS[fund.risk][0]),
    })  # fmt: skip
    since = setting.day + timedelta(days=setting.random.choice((1, 5)))
    setting.date("effective_date", since)
    setting.say(
        "经重新评价，本基金的风险等级由{old_risk_class}（{=old_word}）调整为{risk_class}（{=risk_word}），自{effective_date}起适用。",
        "原风险等级：{old_risk_class}\n现风险等级：{risk_class}\n适用日期：{effective_date}",
        "销售机构自{effective_date}起将本产品按{risk_class}（{=risk_word}）管理，此前为{old_risk_class}。请持有人重新确认适当性匹配结果。",
    )
    return since, {"risk_class": (risk, "")}, replace(fund, risk=risk)


def _minimum(setting: _Setting) -> _Changed:
    fund = setting.fund
    new = setting.random.choice([amount for amount in (1, 10, 100, 1_000, 50_000) if amount != fund.minimum])
    since = setting.day + timedelta(days=2)
    setting.values.update({"minimum": Value(f"{new}", "元"), "old_minimum": Value(f"{fund.minimum}", "元")})
    setting.date("effective_date", since)
    setting.say(
        "首次申购最低金额自{effective_date}起由{old_minimum}元变更为{minimum}元。",
        "调整前起点：{old_minimum}元；调整后起点：{minimum}元；实施日期：{effective_date}。",
        "{effective_date}起，投资者单笔申购的最低金额为{minimum}元（含申购费），原{old_minimum}元的规定停止执行。",
    )
    return since, {"minimum": (str(new), "元")}, replace(fund, minimum=new)


def _custodian_days(setting: _Setting) -> _Changed:
    fund = setting.fund
    new = setting.random.choice([days for days in (1, 2, 3, 4, 7) if days != fund.settle_days])
    since = setting.day + timedelta(days=7)
    setting.values.update({"settle_days": Value(f"T+{new}日"), "old_settle_days": Value(f"T+{fund.settle_days}日")})
    setting.date("effective_date", since)
    setting.say(
        "{effective_date}起，赎回款项的到账时间由{old_settle_days}调整为{settle_days}。",
        "赎回到账：{settle_days}（原{old_settle_days}），{effective_date}（含）以后受理的申请适用。",
    )
    return since, {"settle_days": (f"T+{new}", "")}, replace(fund, settle_days=new)


def _nav_error(setting: _Setting) -> _Changed:
    day, nav = setting.fund.navs[-1]
    wrong = nav + Decimal(setting.random.choice((-7, -3, 4, 9))) / 1000
    setting.values.update({"nav": Value(f"{nav:.4f}", "元"), "wrong_nav": Value(f"{wrong:.4f}", "元")})
    setting.date("nav_date", day)
    setting.say(
        "因估值系统原因，{nav_date}披露的份额净值{wrong_nav}元有误，正确的单位净值为{nav}元，由此带来的不便深表歉意。",
        "更正：{nav_date}基金份额净值应为{nav}元（误披露为{wrong_nav}元）。误差部分由管理人承担。",
    )
    return setting.day, {"nav": (f"{nav:.4f}", "元")}, setting.fund


def _meeting(setting: _Setting) -> _Changed:
    start = setting.day + timedelta(days=setting.random.randrange(12, 25))
    setting.date("vote_from", start)
    setting.date("vote_until", start + timedelta(days=20))
    setting.say(
        "管理人决定以通讯方式召开份额持有人大会，投票自{vote_from}起，至{vote_until} 17:00止（以收到表决票时间为准）。",
        "会议投票表决起止时间：{vote_from}至{vote_until}。审议事项：关于持续运作的议案。",
    )
    setting.say("参加表决的份额须达到权益登记日总份额的二分之一以上。", "权益登记日登记在册的持有人均有权参加。")
    return setting.day, {"vote_from": (start.isoformat(), "")}, setting.fund


_NOTICES: Final[tuple[Callable[[_Setting], _Changed], ...]] = (
    _dividend, _dividend, _manager, _manager, _fee, _fee, _suspend, _resume, _risk, _minimum, _custodian_days, _nav_error, _meeting,
)  # fmt: skip
_NAMES: Final[dict[Callable[[_Setting], _Changed], str]] = {
    _dividend: "分红", _manager: "基金经理变更", _fee: "调整费率", _suspend: "暂停大额申购", _resume: "恢复申购", _risk: "调整风险等级",
    _minimum: "调整最低申购金额", _custodian_days: "调整赎回到账时间", _nav_error: "净值更正", _meeting: "召开份额持有人大会",
}  # fmt: skip
