"""Fields of a document that came without any: from its labels, tables and the usual wordings of funds' papers. Pure.

Only what is unmistakable is taken: a known label with a value of its kind beside it, or a sentence of a known form. What this
does not see, no template states; the words are still found by search.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workbench_sandbox.corpus.text import HAN

_RATE = r"(?P<v>[0-9]+(?:\.[0-9]+)?)\s?(?P<u>%)"
_MONEY = r"(?P<v>[0-9][0-9,]*(?:\.[0-9]+)?)\s?(?P<u>万亿元|亿元|万元|千元|元|亿|万|million|billion)?"
_DAY = (
    r"(?P<v>(?:19|20)[0-9]{2}(?:年[0-9]{1,2}月[0-9]{1,2}日|[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{4}(?![0-9]))"
    r"|[0-9]{1,2} [a-z]{3,9} (?:19|20)[0-9]{2}|[a-z]{3,9} [0-9]{1,2}, (?:19|20)[0-9]{2})(?P<u>)"
)
_PRICE = r"(?P<v>[0-9]+\.[0-9]{2,6})\s?(?P<u>元)?"
_CODE = r"(?P<v>[0-9]{6})(?![0-9])(?P<u>)"
_WHO = r"(?P<v>[^\s，。；、|:：()（）0-9][^，。；、|:：()（）\n]{1,40}?)(?P<u>)"
_TEXT = r"(?P<v>[^\n|]{2,120}?)(?P<u>)"
_RISK = r"(?P<v>r[1-5](?:级)?(?:\s?[(（][^)）]{2,20}[)）])?|(?:中低|中高|低|中|高)风险[(（]r[1-5][)）])(?P<u>)"
_SETTLE = r"(?P<v>t\s?\+\s?[0-9]+(?:\s?日)?|[0-9]+个?(?:工作日|交易日))(?P<u>)"
_POINT = r"(?P<v>[0-9]+(?:\.[0-9]+)?)\s?(?P<u>点)?"
_DAYS = r"(?P<v>[0-9]{1,4})\s?(?P<u>天|日|days?)"

_KINDS = {
    "management_fee": _RATE, "custody_fee": _RATE, "sales_fee": _RATE, "purchase_fee": _RATE, "subscription_fee": _RATE,
    "redemption_fee": _RATE, "risk_class": _RISK, "manager": _WHO, "management_company": _WHO, "custodian": _WHO, "inception": _DAY,
    "scale": _MONEY, "nav": _PRICE, "nav_cumulative": _PRICE, "nav_date": _DAY, "minimum": _MONEY, "benchmark": _TEXT,
    "fund_type": _TEXT, "fund_code": _CODE, "fund_name": _TEXT, "other_name": _TEXT, "short_name": _WHO, "settle_days": _SETTLE, "holding_days": _DAYS,
    "open_rule": _TEXT, "dividend": _MONEY, "record_date": _DAY, "ex_date": _DAY, "pay_date": _DAY, "limit": _MONEY,
    "suspend_date": _DAY, "resume_date": _DAY, "effective_date": _DAY, "scale_date": _DAY, "date": _DAY, "close": _POINT, "high": _POINT, "low": _POINT,
    "turnover": _MONEY, "change": r"(?P<v>[-+−]?[0-9]+(?:\.[0-9]+)?)\s?(?P<u>%)", "years": r"(?P<v>[0-9]{1,2})(?P<u>年)",
}  # fmt: skip
_VALUES = {field: re.compile(rf"\s*{kind}\s*") for field, kind in _KINDS.items()}

LABELS: dict[str, str] = {
    label: field
    for field, labels in {
        "management_fee": "管理费 管理费率 年管理费 年管理费率 基金管理费 基金管理费率 管理费年费率 managementfee annualmanagementfee",
        "custody_fee": "托管费 托管费率 年托管费 年托管费率 基金托管费 基金托管费率 托管费年费率 custodyfee custodianfee",
        "sales_fee": "销售服务费 销售服务费率 年销售服务费 年销售服务费率 salesfee salesservicefee",
        "purchase_fee": "申购费 申购费率 最高申购费 最高申购费率 前端申购费 前端申购费率 purchasefee frontendload",
        "subscription_fee": "认购费 认购费率",
        "redemption_fee": "赎回费 赎回费率 短期赎回费 短期赎回费率 redemptionfee",
        "risk_class": "风险等级 风险级别 风险评级 风险分类 产品风险等级 风险收益特征 基金风险等级 riskrating riskclass",
        "manager": "基金经理 现任基金经理 投资经理 经理 基金经理人 portfoliomanager fundmanager manager",
        "management_company": "管理人 基金管理人 管理公司 管理机构 managementcompany issuer",
        "custodian": "托管人 基金托管人 托管机构 托管银行 托管行 custodian depositary",
        "inception": "成立日期 成立日 成立时间 合同生效日 基金合同生效日 基金成立日 inceptiondate inception launchdate",
        "scale": "规模 基金规模 资产净值 基金资产净值 最新规模 资产规模 fundsize netassets",
        "nav": "单位净值 份额净值 最新净值 最新单位净值 基金份额净值 净值 nav navperunit unitnav",
        "nav_cumulative": "累计净值 份额累计净值 累计单位净值 基金累计净值 accumulatednav cumulativenav",
        "nav_date": "净值日期 估值日 截至日期 净值更新日 净值截止日 navdate",
        "minimum": "申购起点 首次申购起点 起购金额 最低申购金额 起点金额 首次最低申购金额 起投金额 minimumsubscription minimuminvestment",
        "benchmark": "业绩比较基准 比较基准 业绩基准 benchmark",
        "close": "收盘 收盘价 收盘点位", "change": "涨跌幅 日涨跌幅 日涨跌", "high": "最高", "low": "最低", "turnover": "成交额",
        "date": "日期 交易日", "years": "证券从业年限",
        "fund_type": "基金类型 基金类别 产品类型 产品类别 类别 类型 运作类型 type category fundtype",
        "fund_code": "基金代码 基金主代码 产品代码 代码 交易代码 申购代码 code fundcode identifier",
        "fund_name": "基金名称 产品名称 基金全称 名称 产品全称 全称 fundname name",
        "short_name": "基金简称 简称 shortname", "other_name": "英文名称 英文名 基金英文名称 外文名称 中文名称 englishname chinesename",
        "settle_days": "赎回到账 到账时间 资金到账 赎回到账时间 赎回款到账时间 到账日 redemptionproceeds settlement",
        "holding_days": "最短持有期 锁定期 最低持有天数 最短持有天数 lockup minimumholding",
        "open_rule": "开放日 开放安排 申购赎回安排 申赎安排 dealingdays",
        "dividend": "分红方案", "record_date": "权益登记日 登记日", "ex_date": "除息日", "pay_date": "发放日 现金红利发放日 红利发放日",
        "limit": "限制申购金额 申购限额 大额申购限额", "suspend_date": "暂停申购起始日 暂停大额申购起始日",
        "resume_date": "恢复日 恢复申购日", "effective_date": "生效日期 适用日期 实施日期 任职日期 变更日期 生效日",
    }.items()
    for label in labels.split()
}  # fmt: skip
"""A label without its spaces and brackets -> field."""

_NEAR = r"[^0-9\n。；|%]{0,22}?"
_PROSE: tuple[tuple[str, str], ...] = (
    ("management_fee", rf"(?<!原)管理费(?!前)(?:率)?{_NEAR}{_RATE}"),
    ("management_fee", rf"(?:基金)?管理人每年收取{_RATE}"),
    ("management_fee", rf"management fee (?:of|is|:)? ?{_RATE}"),
    ("management_fee", rf"h\s?=\s?e\s?[×x*]\s?{_RATE}[^。\n]{{0,24}}管理费"),
    ("custody_fee", rf"托管费(?:率)?{_NEAR}{_RATE}"),
    ("custody_fee", rf"托管人每年收取{_RATE}"),
    ("custody_fee", rf"(?:custody fee(?: of| is|:)?|custody is charged at) ?{_RATE}"),
    ("sales_fee", rf"销售服务费(?:率)?(?:年费率)?{_NEAR}{_RATE}"),
    ("sales_fee", rf"c类份额按{_RATE}的年费率计提销售服务费"),
    ("purchase_fee", rf"申购费率?为?{_NEAR}{_RATE}"),
    ("purchase_fee", rf"申购(?:本基金)?，?[^0-9\n。；]{{0,8}}(?:最高)?费率{_RATE}"),
    ("purchase_fee", rf"(?:purchase|entry|subscription|front-end)[a-z -]{{0,20}}(?:fee|load|charge)[^0-9\n]{{0,20}}{_RATE}"),
    ("redemption_fee", rf"赎回费率?为?{_NEAR}{_RATE}"),
    ("redemption_fee", rf"收取{_RATE}的赎回费"),
    ("redemption_fee", rf"redemption fee[^0-9\n]{{0,20}}{_RATE}"),
    ("risk_class", rf"风险(?:等级|级别|评级)(?:为|是|：|:)?\s?{_RISK}"),
    ("risk_class", rf"(?:评定为|评为|确定为|属于){_RISK}"),
    ("risk_class", rf"(?:rated|risk (?:rating|class)(?: is|:)?) {_RISK}"),
    ("manager", r"(?:由|基金经理(?:为|是)?)(?P<v>(?![一-鿿]{0,4}基金)[一-鿿]{2,4}?)(?P<u>)(?:担任(?:本)?基金(?:的)?(?:基金)?经理|在授权|负责)"),
    ("manager", r"(?:基金|投资)经理[:：]\s?(?P<v>[一-鿿]{2,4})(?P<u>)(?=[\s;；。，]|$)"),
    ("manager", r"(?:^|。|\n|　)(?P<v>[一-鿿]{2,4}?)(?P<u>)负责本基金的日常投资"),
    ("manager", r"managed by (?P<v>[a-z]+ [a-z]+)(?P<u>)"),
    ("management_company", r"(?:由|基金管理人为|管理人为|管理人)(?P<v>[一-鿿]{2,12}?(?:基金|资产|资本|证券)[一-鿿]{0,10}?公司)(?P<u>)(?!托管|作为托管)"),
    ("custodian", r"(?:托管人(?:是|为)|财产由|由)(?P<v>[一-鿿]{2,20}?银行(?:股份)?(?:有限)?(?:公司)?)(?P<u>)"),
    ("custodian", r"(?:^|。|\n|　|[答a][:：]\s?)(?P<v>[一-鿿]{2,20}?银行(?:股份)?(?:有限)?(?:公司)?)(?P<u>)作为托管人"),
    ("custodian", r"assets are held by (?P<v>[a-z]+(?: [a-z]+){0,4})(?P<u>)\."),
    ("inception", rf"(?:成立于|合同于(?={_DAY.replace('?P<v>', '').replace('?P<u>', '')}生效)|自(?={_DAY.replace('?P<v>', '').replace('?P<u>', '')}成立)){_DAY}"),
    ("inception", rf"(?:launched on|since|established on|inception date:?) {_DAY}"),
    ("nav_cumulative", rf"累计(?:(?:单位|份额)?净值)?(?:为|是)?\s?{_PRICE}"),
    ("nav", rf"(?<!累计)(?:份额|单位|每份)净值(?:为|是)?\s?{_PRICE}"),
    ("nav", rf"(?:unit value stood at|nav per unit:?|net asset value per unit:?) {_PRICE}"),
    ("scale", r"(?:规模(?:为|约)?|资产净值合计|产品规模约?)\s?" + _MONEY.replace("million|billion)?", "million|billion)")),
    ("scale", r"(?:net assets|fund size)[: ]+cny (?P<v>[0-9][0-9,.]*[0-9])\s?(?P<u>million|billion)"),
    ("minimum", r"(?:首次申购(?:的)?最低金额为?|单笔申购不得低于|申购起点为?|起购金额为?)\s?" + _MONEY),
    ("minimum", r"minimum (?:subscription|investment):? (?:cny |rmb )?(?P<v>[0-9][0-9,]*)(?P<u>)"),
    ("benchmark", r"(?:业绩)?比较基准(?:为)?[：:]\s?(?P<v>[^\n。|]{4,120})(?P<u>)"),
    ("benchmark", r"管理人以(?P<v>[^\n。|，]{4,120}?)(?P<u>)作为比较基准"),
    ("benchmark", r"业绩表现与[“\"](?P<v>[^\n”\"]{4,120})(?P<u>)[”\"]相比较"),
    ("fund_type", rf"(?:类型为|一只|本基金属于)(?P<v>[{HAN}]{{2,12}}?(?:基金|基金\(fof\)))(?P<u>)(?:。|，|$)"),
    ("fund_code", rf"代码(?:是|为|：|:)?\s?{_CODE}"),
    ("fund_code", r"基金(?:\(fof\))?[(（](?:a类[：:]\s?)?(?P<v>[0-9]{6})(?P<u>)"),
    ("fund_code", r"^(?P<v>[0-9]{6})(?P<u>) "),
    ("fund_code", r"\A[^\n]{2,40}[(（](?P<v>[0-9]{6})(?P<u>)[)）]"),
    ("fund_code", r"(?:fund )?(?:code|identifier):? (?P<v>[0-9]{6})(?P<u>)"),
    ("settle_days", rf"(?:于|在|到账[：:]?|调整为){_SETTLE}(?:内)?(?:到账|划往|\(原|（原|。|$)"),
    ("settle_days", rf"(?:paid on|redemption proceeds:?|settle[sd]? (?:on|in)) {_SETTLE}"),
    ("holding_days", rf"(?:设置|自份额确认之日起|锁定期?为?){_DAYS}(?:的最短持有期|后方可)"),
    ("open_rule", r"(?P<v>(?:每|交易日|封闭运作期内)[^。\n]{0,20}?(?:开放申购|为开放期|不办理申购与赎回|受理)[^。\n]{0,40})(?P<u>)"),
    ("dividend", rf"每(?:10|十)份(?:基金份额)?(?:派发现金红利|派|分配)\s?{_MONEY}"),
    ("record_date", rf"登记(?:日[：:]|在){_DAY}"),
    ("pay_date", rf"(?:发放日[：:]|红利款于){_DAY}"),
    ("ex_date", rf"除息日[：:]{_DAY}"),
    ("limit", rf"(?:累计金额不超过|累计申购超过){_MONEY}"),
    ("suspend_date", rf"自?{_DAY}起(?:暂停大额申购|单个账户)"),
    ("limit", r"限制申购金额[^0-9\n]{0,10}(?P<v>[0-9][0-9,]*)(?P<u>)"),
    ("resume_date", rf"自{_DAY}起恢复"),
    ("resume_date", rf"预计{_DAY}恢复"),
    ("resume_date", rf"限制自{_DAY}起取消"),
    ("years", r"具有(?P<v>[0-9]{1,2})(?P<u>年)证券从业"),
    ("dividend_number", r"第(?P<v>[0-9]{1,3})(?P<u>)次分红"),
    ("vote_from", rf"投票自{_DAY}起"),
    ("vote_from", rf"(?:表决|投票)起止时间[:：]{_DAY}至"),
    ("vote_until", rf"投票自[^，\n]{{8,14}}起，至{_DAY}"),
    ("vote_until", rf"(?:表决|投票)起止时间[:：][^至\n]{{8,14}}至{_DAY}"),
    ("close", r"收(?:盘|于|报)[^0-9\n]{0,4}(?P<v>[0-9]+\.[0-9]+)(?P<u>点?)"),
    ("change", r"(?:点，|涨跌幅[:：]?\s?)(?P<v>[-+−][0-9]+\.[0-9]+)(?P<u>%)"),
    ("high", r"最高[^0-9\n|]{0,3}(?P<v>[0-9]+\.[0-9]+)(?P<u>点?)"),
    ("low", r"最低[^0-9\n|]{0,3}(?P<v>[0-9]{3,}\.[0-9]+)(?P<u>点?)"),
    ("turnover", r"成交(?:额)?[^0-9\n|]{0,3}(?P<v>[0-9]+\.[0-9]+)(?P<u>亿元)"),
)  # fmt: skip
_SIGNS = str.maketrans("，；：", ",;:")


def _compiled(pattern: str) -> re.Pattern[str]:
    """For folded text, in which these signs are the plain ones."""
    return re.compile(pattern.translate(_SIGNS), re.MULTILINE)


_PROSE_COMPILED = tuple((field, _compiled(pattern)) for field, pattern in _PROSE)
_WHOLE = re.compile(
    rf"(?P<v>[{HAN}0-9a-z]{{4,40}}?(?:证券投资基金|货币市场基金|基金中基金(?:\(fof\))?)|(?<![a-z0-9-])[a-z0-9-]{{1,24}}(?: [a-z0-9-]{{1,24}}){{1,7}} fund)(?P<u>)"
)
_INDEX = re.compile(rf"[{HAN}0-9]{{2,20}}?指数")
_OF_INDICES = ("change", "high", "low", "turnover")
_ANY_DAY = re.compile(_DAY)
_BEFORE_NAME = re.compile("^(?:.*(?:全称为|现就|现将|旗下产品|关于|产品|名称|答|为)[：:]?|the )")
_EFFECTIVE = tuple(
    _compiled(pattern)
    for pattern in (rf"自{_DAY}\s?(?:\(含\)|（含）)?(?:起|生效|实施)", rf"{_DAY}(?:\(含\)|（含）)?(?:起|以后受理)", rf"自{_DAY}起不再适用")
)



def _change_forms(field: str, label: str, kind: str) -> tuple[re.Pattern[str], ...]:
    one = kind.replace("?P<v>", "?P<a>").replace("?P<u>", "?P<au>")
    other = kind.replace("?P<v>", "?P<b>").replace("?P<u>", "?P<bu>")
    forms = [
        rf"{label}[^0-9\n。；]{{0,24}}由{one}[^0-9\n。；]{{1,10}}{other}",
        rf"{label}(?:率)?[^0-9\n。；]{{0,6}}(?:下调|上调|调整|变更)?为?[：]?{other}[，]?\s?[(（](?:原|此前)(?:为)?{one}",
        rf"{label}率?\s*\|\s*{one}\s*\|\s*{other}",
        rf"{label}[^0-9\n。；]{{0,16}}{other}[^。\n]{{0,12}}，原(?:费率)?{one}",
        rf"原{label}[：]\s?{one}\s*\n?\s*现{label}[：]\s?{other}",
        rf"调整前{label}[：]\s?{one}[；]\s?调整后{label}[：]\s?{other}",
        rf"{label}[^0-9\n。；]{{0,8}}[^。\n]{{0,30}}由{one}(?:调整|变更)为{other}",
    ]
    if field == "risk_class":
        forms.append(rf"按{other}管理，此前为{one}")
    return tuple(_compiled(form) for form in forms)


_PERSON = "[一-鿿]{2,4}?"
_CHANGES: dict[str, tuple[re.Pattern[str], ...]] = {
    "management_fee": _change_forms("management_fee", "管理费", _RATE),
    "custody_fee": _change_forms("custody_fee", "托管费", _RATE),
    "risk_class": _change_forms("risk_class", "风险等级", _RISK),
    "settle_days": _change_forms("settle_days", "到账(?:时间)?", _SETTLE),
    "minimum": _change_forms("minimum", "(?:最低金额|起点)", r"(?P<v>[0-9][0-9,]*(?:\.[0-9]+)?)\s?(?P<u>亿元|万元|元)"),
    "manager": tuple(
        _compiled(form)
        for form in (
            rf"增聘(?P<b>{_PERSON})为本?基金(?:的)?(?:基金)?经理，(?P<a>{_PERSON})(?:同日)?离任",
            rf"(?:^|：|。)(?P<a>{_PERSON})因个人原因不再担任本?基金(?:的)?基金经理，[^。\n]{{0,24}}由(?P<b>{_PERSON})接任",
            rf"新任基金经理[：]\s?(?P<b>{_PERSON})\s*\n离任基金经理[：]\s?(?P<a>{_PERSON})\s*\n",
        )
    ),
    "nav": tuple(
        _compiled(form)
        for form in (
            r"净值(?P<a>[0-9]+\.[0-9]+)元有误，正确的(?:单位|份额)?净值为(?P<b>[0-9]+\.[0-9]+)(?P<bu>元)",
            r"净值应为(?P<b>[0-9]+\.[0-9]+)(?P<bu>元)[(（]误披露为(?P<a>[0-9]+\.[0-9]+)元",
        )
    ),
}


@dataclass(frozen=True, slots=True)
class Stated:
    """A field as folded text states it: characters start to end of it, and the unit."""

    field: str
    start: int
    end: int
    unit: str


def read(folded: str, *, announcement: bool) -> list[Stated]:
    """The fields that a folded text states; of several places of a field the first. Announcements also state values before."""
    found: dict[str, Stated] = {}
    if announcement:
        for stated in _changes(folded):
            found.setdefault(stated.field, stated)
    for stated in _labelled(folded):
        found.setdefault(stated.field, stated)
    for field, pattern in _PROSE_COMPILED:
        if field not in found and (match := pattern.search(folded)):
            found[field] = _stated(field, match)
    if "fund_name" not in found and (match := _WHOLE.search(folded)):
        cut = _BEFORE_NAME.match(match.group("v"))
        start = match.start("v") + (cut.end() if cut else 0)
        found["fund_name"] = Stated("fund_name", start, match.end("v"), "")
    if "fund_name" in found and (index := _INDEX.fullmatch(folded, found["fund_name"].start, found["fund_name"].end)):
        found["index_name"] = Stated("index_name", index.start(), index.end(), "")
        del found["fund_name"]
    elif "close" in found and "index_name" not in found and (index := _INDEX.search(folded)):
        found.pop("fund_name", None)
        found["index_name"] = Stated("index_name", index.start(), index.end(), "")
        day = _ANY_DAY.search(folded)
        if "date" not in found and day:
            found["date"] = Stated("date", day.start("v"), day.end("v"), "")
    if "close" not in found:
        found = {field: stated for field, stated in found.items() if field not in _OF_INDICES}
    return list(found.values())


def _stated(field: str, match: re.Match[str]) -> Stated:
    return Stated(field, match.start("v"), match.end("v"), match.group("u") or "")


def _changes(folded: str) -> Iterator[Stated]:
    """由 A 调整为 B, 为 B（原 A）, 原…：A 现…：B, columns 调整前 and 调整后, people who come and go, corrected values."""
    changed = False
    for field, patterns in _CHANGES.items():
        for pattern in patterns:
            if match := pattern.search(folded):
                units = match.groupdict()
                yield Stated(field, match.start("b"), match.end("b"), units.get("bu") or "")
                before = "wrong_nav" if field == "nav" else f"old_{field}"
                if match.group("a"):
                    yield Stated(before, match.start("a"), match.end("a"), units.get("au") or "")
                changed = changed or field != "nav"
                break
    for pattern in _EFFECTIVE if changed else ():
        if found := pattern.search(folded):
            yield _stated("effective_date", found)
            return


def _labelled(folded: str) -> Iterator[Stated]:
    """Labels with their values: in one line, in cells side by side, below one another, or in a head and a row."""
    header: list[tuple[str, str]] = []
    waiting = ""
    place = 0
    for line in folded.split("\n"):
        begin, place = place, place + len(line) + 1
        if line.strip() and set(line) <= set("|-: "):
            continue  # the line between a table's head and its rows
        cells = _cells(line)
        labels = [_label(line[start:end]) for start, end in cells]
        if header and len(cells) == len(header) and not all(field for field, _ in labels):
            for (field, unit), (start, end) in zip(header, cells, strict=True):
                yield from _value(field, folded, begin + start, begin + end, unit)
            header = []
            continue
        if len(cells) >= 2 and all(field for field, _ in labels):
            header = labels if labels[0][0] != "date" else []  # a series: facts.py reads all of its rows
            continue
        header = []
        for number, (field, unit) in enumerate(labels[:-1]):
            if field and not labels[number + 1][0]:
                yield from _value(field, folded, begin + cells[number + 1][0], begin + cells[number + 1][1], unit)
        if waiting and line.strip():
            first = len(line) - len(line.lstrip())
            if not _label(line)[0]:
                yield from _value(waiting, folded, begin + first, begin + len(line.rstrip()), "")
            waiting = ""
        if len(cells) == 1 and labels[0][0]:
            waiting = labels[0][0]


_SEPARATED = re.compile(r"[^|\t]+")
_COLON = re.compile(r"\s*[:：]\s*")
_PIECES = re.compile(r"[^；;　]+(?:　[^；;　:：]+)*")


def _cells(line: str) -> list[tuple[int, int]]:
    """Where the cells of a line are: between bars or tabs, commas of a list of values, colons, or wide spaces."""
    if "|" in line or "\t" in line:
        return _trimmed(line, [match.span() for match in _SEPARATED.finditer(line)])
    if line.count(",") >= 2 and not re.search(r", |。|:|\s{2,}", line):
        return _trimmed(line, [match.span() for match in re.finditer("[^,]+", line)])
    found: list[tuple[int, int]] = []
    for piece in re.finditer(r"[^；;]+", re.sub("　　+", lambda match: "；" * len(match.group()), line)):
        text = piece.group()
        colon = _COLON.search(text)
        wide = re.search(r"(?<=\S)\s{2,}(?=\S)", text)
        if colon and colon.start():
            found += [(piece.start(), piece.start() + colon.start()), (piece.start() + colon.end(), piece.end())]
        elif wide:
            found += [(piece.start(), piece.start() + wide.start()), (piece.start() + wide.end(), piece.end())]
        else:
            found.append(piece.span())
    return _trimmed(line, found)


def _trimmed(line: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    found = []
    for start, end in spans:
        while start < end and (line[start].isspace() or _BULLET.match(line, start)):
            start += 1
        while end > start and line[end - 1].isspace():
            end -= 1
        if start < end:
            found.append((start, end))
    return found


_BULLET = re.compile(r"[*·•■>#]|-(?![0-9])")
_BRACKET = re.compile(r"[(（]([^()（）]{1,16})[)）]")


def _label(text: str) -> tuple[str, str]:
    """The field of a label and the unit in its brackets; "" where it is none."""
    unit = _BRACKET.search(text)
    plain = re.sub(r"\s+", "", _BRACKET.sub("", text)).strip(":：.、*")
    field = LABELS.get(plain, "")
    said = unit.group(1) if unit and unit.group(1) in ("亿元", "万元", "元", "%", "元/10份") else ""
    return field, said


def _value(field: str, folded: str, start: int, end: int, unit: str) -> Iterator[Stated]:
    if not field:
        return
    pattern = _VALUES[field]
    match = pattern.fullmatch(folded, start, end) or (pattern.match(folded, start, end) if _KINDS[field] not in (_WHO, _TEXT) else None)
    if match is None and field == "nav" and unit:
        match = _VALUES["scale"].fullmatch(folded, start, end)
    if match is not None:
        stated = _stated(field, match)
        yield Stated(field, stated.start, stated.end, stated.unit or unit)
