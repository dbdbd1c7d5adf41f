"""News, research notes, quotes, prompt templates and customers' questions of the synthetic corpus."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Final

from workbench_inference.documents.synthetic_funds import FIRST_NOTICE, SyntheticFund, write_series
from workbench_inference.documents.synthetic_phrases import LABEL_LINES
from workbench_inference.documents.synthetic_text import DATE_STYLES, Value, Writer, shown_date
from workbench_inference.documents.synthetic_words import INDICES, INDUSTRIES, ISSUERS, TOWNS

_OPENINGS: Final = (
    "{day}讯，", "据行业协会{day}公布的数据，", "{day}，", "记者从多家机构了解到，", "盘后消息：", "（{day}）", "截至{day}收盘，", "本周",
)  # fmt: skip
_FACTS: Final = (
    "{industry}板块成交{amount}亿元，较前一日{up}{change}%。",
    "{index}报{points}点，{up}{change}%，{industry}方向领涨。",
    "{industry}主要产品价格环比{up}{change}%，库存约为{days}天。",
    "{issuer}披露前三季度收入{amount}亿元，同比{up}{change}%。",
    "{issuer}拟以{amount}亿元建设{industry}项目，建设期{months}个月。",
    "{industry}新增装机{amount}万千瓦，同比{up}{change}%。",
    "两市成交额{amount}亿元，{rises}只上涨、{falls}只下跌。",
    "{issuer}与{other}签署框架协议，涉及金额约{amount}亿元，有效期{months}个月。",
    "央行当日开展{amount}亿元逆回购操作，期限7天，利率保持在{change}%。",
    "{index}成分股调整，调入{rises}只，调出同样数量，自{later}起生效。",
)
_VIEWS: Final = (
    "有分析人士认为，短期波动不改变行业供需改善的方向。", "多家机构提示，估值已反映大部分预期，宜关注兑现情况。",
    "从持仓看，公募产品对该方向的配置仍低于历史中位数。", "业内人士表示，需求恢复的节奏存在不确定性。",
    "监管部门要求销售机构严格落实适当性管理，不得承诺收益。", "研究员建议跟踪后续订单与现金流。", "海外同类资产同期走势较弱。",
    "资金面总体平稳，短端利率小幅下行。", "也有观点指出，成本上升会侵蚀毛利率。", "市场对明年的资本开支仍有分歧。",
)  # fmt: skip
_NEWS_TITLES: Final = (
    "{industry}午后走强", "{issuer}：{industry}业务进展", "市场回顾：{index}{up}{change}%", "{industry}景气跟踪", "晨报：关注{industry}与{other_industry}",
    "{issuer}发布经营数据", "一周观察 | {industry}", "资金面周报", "{industry}价格监测", "热点解读：{industry}缘何{up}",
)  # fmt: skip
_RESEARCH: Final = (
    "核心观点：{industry}处于补库存阶段，预计未来{months}个月供给增速低于{change}%。",
    "我们调研了{issuer}位于{town}的工厂，产能利用率约{rate}%，在手订单可覆盖{months}个月。",
    "盈利预测：预计{issuer}今明两年收入分别为{amount}亿元和{next}亿元（预测值，可能与实际不符）。",
    "估值方面，{industry}当前市盈率{days}倍，处于近五年{rate}%分位。",
    "风险因素：原材料价格上涨、汇率波动、{industry}需求不及预期。",
    "与{other}相比，{issuer}的费用率低{change}个百分点。",
    "渠道反馈：{industry}旺季较去年提前约{weeks}周。",
)
_FUND_NEWS: Final = (
    "{fund_name}（{fund_code}）二季度报告显示，前十大重仓股占净值{rate}%，{industry}为第一大方向。",
    "{manager}在季报中写道：“我们降低了{industry}的比例，增加了现金类资产。”其管理的{fund_name}期末股票仓位{rate}%。",
    "{short_name}近三个月回报{change}%，同类排名前{days}%；过往业绩不代表未来。",
    "近日{fund_name}获机构净申购，具体金额未披露。",
    "{management_company}旗下{fund_name}迎来成立纪念日，管理人称将坚持长期投资。",
    "投资者关注的{fund_name}是否限购，管理人回应：以公告为准。",
)
_STALE: Final = (
    "需要提醒的是，部分第三方平台仍显示{short_name}的管理费为{rumour}%，请以管理人最新公告为准。",
    "有传言称{short_name}将由他人接管，管理人未予证实。",
    "网络流传的“{short_name}保本”说法不实，公募基金不承诺保本。",
)
_ENGLISH_NEWS: Final = (
    "Turnover in {industry} shares came to CNY {amount} million, {change}% more than a day before.",
    "{issuer_en} said its order book covers {months} months.",
    "The composite index closed at {points}, a move of {change}%.",
    "Analysts see inventories of about {days} days as normal for the season.",
    "Short-term rates eased; the seven-day rate stayed near {change}%.",
)


def _figures(random: Random, day: date) -> dict[str, Value]:
    industry, other_industry = random.sample(INDUSTRIES, 2)
    issuer, other = random.sample(ISSUERS, 2)
    amount = Decimal(random.randrange(80, 90_000)) / 100
    style = random.choice(DATE_STYLES[:3])
    made = {
        "day": shown_date(day, style), "later": shown_date(day + timedelta(days=random.randrange(5, 30)), style),
        "industry": industry, "other_industry": other_industry, "issuer": issuer, "other": other, "index": random.choice(INDICES),
        "amount": f"{amount:.2f}", "next": f"{amount * Decimal('1.17'):.2f}", "change": f"{Decimal(random.randrange(11, 690)) / 100}",
        "points": f"{Decimal(random.randrange(90_000, 720_000)) / 100}", "days": str(random.randrange(9, 60)),
        "months": str(random.randrange(6, 37)), "weeks": str(random.randrange(1, 5)), "rises": str(random.randrange(20, 3_000)),
        "falls": str(random.randrange(20, 3_000)), "rate": str(random.randrange(12, 97)), "up": random.choice(("上涨", "下跌", "增长", "回落")),
        "town": random.choice(TOWNS), "issuer_en": f"Synthetic Issuer {ISSUERS.index(issuer) + 1}", "rumour": random.choice(("2.00", "0.30", "1.80")),
    }  # fmt: skip
    return {name: Value(text) for name, text in made.items()}


def write_news(fund: SyntheticFund, day: date, random: Random) -> tuple[str, Writer]:
    """One piece of news, a research note or a report about a fund; title without the label."""
    writer = Writer()
    values = _figures(random, day)
    sort = random.random()
    if sort < 0.08:
        writer.put(f"{day.isoformat()}\n")
        for template in random.sample(_ENGLISH_NEWS, 3):
            writer.line(template.replace("{industry}", "listed sector"), values, end=" ")
        writer.put("\n" + LABEL_LINES[3] + "\n")
        writer.fields = {}
        return f"Market note {day.isoformat()}", writer
    if sort < 0.33:
        title = f"{values['issuer'].text}与{values['industry'].text}研究" if sort < 0.2 else f"{values['industry'].text}深度：{random.choice(('拐点将近', '分化加剧', '静待需求', '成本之变'))}"
        writer.line(title + "\n日期：{day}　报告类型：" + random.choice(("行业点评", "公司调研", "专题报告", "会议纪要")), values)
        for number, template in enumerate(random.sample(_RESEARCH, random.randrange(3, 6)), 1):
            writer.line(random.choice(("", f"{number}. ", "■ ")) + template, values)
        writer.put(random.choice(_VIEWS) + "\n")
    elif sort < 0.6:
        values |= {"fund_name": Value(fund.name), "fund_code": Value(fund.code), "short_name": Value(fund.short), "manager": Value(fund.manager), "management_company": Value(fund.company)}
        title = random.choice((f"{fund.short}季报解读", f"基金动态：{fund.short}", f"{fund.company[:2]}旗下产品观察"))
        # People may change from FIRST_NOTICE on; what news says of them stays true at its date.
        said = [template for template in _FUND_NEWS if day < FIRST_NOTICE or "{manager}" not in template]
        writer.line(random.choice(_OPENINGS) + random.choice(said), values)
        writer.line(random.choice(said), values)
        if random.random() < 0.4:
            writer.line(random.choice(_STALE).replace("{rumour}", "{=rumour}"), values)
        writer.put(random.choice(_VIEWS) + "\n")
    else:
        heading = Writer()
        heading.fill(random.choice(_NEWS_TITLES), values)
        title = heading.text()
        writer.fill(random.choice(_OPENINGS), values)
        writer.line(random.choice(_FACTS), values)
        for template in random.sample(_FACTS, random.randrange(1, 4)):
            values |= {name: value for name, value in _figures(random, day).items() if name not in ("day", "industry", "issuer", "other")}
            writer.fill(template, values)
            if random.random() < 0.5:
                writer.put(random.choice(_VIEWS) + "\n")
        writer.put("\n")
    writer.put(random.choice(LABEL_LINES) + "\n")
    writer.fields = {name: span for name, span in writer.fields.items() if name in ("fund_name", "fund_code", "short_name", "manager", "management_company")}
    return title, writer


def write_series_of(fund: SyntheticFund, random: Random) -> tuple[str, date, Writer]:
    """Values of one fund over some weeks; the last day is the document's."""
    writer = Writer()
    title, day = _series(writer, fund, random.choice(DATE_STYLES), random)
    writer.put(random.choice(LABEL_LINES) + "\n")
    return title, day, writer


def _series(writer: Writer, fund: SyntheticFund, style: str, random: Random) -> tuple[str, date]:
    day = fund.navs[-1][0]
    values = {"fund_name": Value(fund.name), "fund_code": Value(fund.code), "nav": Value(f"{fund.navs[-1][1]:.4f}", "元"), "nav_date": Value(shown_date(day, style))}
    writer.line(random.choice(("净值走势　{fund_name}（{fund_code}）", "{fund_code} {fund_name} 历史净值", "历史净值查询\n产品：{fund_name}\n代码：{fund_code}")), values)
    write_series(writer, fund, values["nav_date"].text, random, random.choice((10, 20, 40)))
    writer.line(random.choice(("最新净值{nav}元，日期{nav_date}。", "注：末行（{nav_date}）为最新，{nav}元。")), values)
    return f"{fund.short}净值", day


def write_quote(number: int, fund: SyntheticFund, random: Random) -> tuple[str, date, Writer]:
    """Values of one fund over some weeks, or of one index over one week; the last day is the document's."""
    writer = Writer()
    style = random.choice(DATE_STYLES)
    if number % 2:
        title, day = _series(writer, fund, style, random)
    else:
        day = date(2026, 6, 30) - timedelta(days=number)
        while day.weekday() > 4:
            day -= timedelta(days=1)
        index = INDICES[number % len(INDICES)]
        close = Decimal(random.randrange(90_000, 720_000)) / 100
        move = Decimal(random.randrange(-350, 350)) / 100
        values = {
            "index_name": Value(index), "date": Value(shown_date(day, style)), "close": Value(f"{close:.2f}", "点"), "change": Value(f"{move:+.2f}", "%", "%"),
            "high": Value(f"{close * Decimal('1.011'):.2f}", "点"), "low": Value(f"{close * Decimal('0.988'):.2f}", "点"),
            "turnover": Value(f"{random.randrange(90, 9_000)}.{random.randrange(10)}", "亿元"),
        }  # fmt: skip
        writer.line(
            random.choice((
                "{index_name} {date}\n收盘：{close}\n涨跌幅：{change}\n最高：{high}\n最低：{low}\n成交额：{turnover}亿元",
                "| 名称 | 日期 | 收盘 | 涨跌幅 | 最高 | 最低 | 成交额(亿元) |\n|---|---|---|---|---|---|---|\n| {index_name} | {date} | {close} | {change} | {high} | {low} | {turnover} |",
                "{date}，{index_name}收于{close}点，{change}，盘中最高{high}、最低{low}，成交{turnover}亿元。",
            )),
            values,
        )  # fmt: skip
        title = f"{index}行情"
    writer.put(random.choice(LABEL_LINES) + "\n")
    return title, day, writer


_SCENES: Final = (
    ("advice", "投顾", "回访持有客户"), ("advice", "投顾", "说明产品风险"), ("research", "投研", "整理公告要点"), ("banking", "投行", "核对公告日期"),
    ("marketing", "运营", "新品介绍短信"), ("marketing", "运营", "分红提醒"), ("risk_class", "风控", "异常净值排查"), ("together", "协作", "会议纪要提炼"),
    ("running", "运维", "接口告警说明"), ("advice", "投顾", "客户询问费用"),
)  # fmt: skip
_PROMPT_OPENINGS: Final = ("适用：{scene} · {task}", "场景【{scene}】用途：{task}", "话术编号 {number}（{scene}）\n目的：{task}")
_PROMPT_STEPS: Final = (
    "先称呼客户并说明来意，不评价其他机构。", "引用资料时写明来源与日期。", "涉及风险等级时，先核对客户承受能力，再介绍产品。",
    "不得出现“保本”“稳赚”“最高收益”等字样。", "费用按资料原文说明：管理费、托管费、申购费、赎回费逐项列出。", "资料没有的内容，回答“资料中没有”，并转人工。",
    "结尾附：以上内容不构成投资建议，市场有风险，投资须谨慎。", "短信不超过70字，保留退订方式。", "净值须同时给出日期。", "如客户要求预测涨跌，礼貌拒绝。",
)  # fmt: skip


def write_prompt(number: int, random: Random) -> tuple[str, Writer]:
    """One wording for staff: title without the label."""
    writer = Writer()
    _, scene, task = _SCENES[number % len(_SCENES)]
    values = {"scene": Value(scene), "task": Value(task), "number": Value(f"HS-{number + 1:03d}")}
    writer.line(random.choice(_PROMPT_OPENINGS), values)
    for place, step in enumerate(random.sample(_PROMPT_STEPS, random.randrange(4, 8)), 1):
        writer.put(random.choice((f"{place}. ", "- ", f"（{place}）")) + step + "\n")
    writer.put(random.choice(("示例：您好，关于您持有的【基金简称】，", "开场：打扰了，我是您的服务专员。", "参考语句：按最新资料，该产品的风险等级为【风险等级】。")) + "\n")
    writer.put(random.choice(LABEL_LINES) + "\n")
    return f"{scene}话术：{task}", writer


_ASKED: Final = (
    "{short_name}现在能买吗？我上次测评是稳健型。", "我持有的{fund_name}什么时候分红？", "{fund_code}的管理费是不是降了？", "赎回{short_name}几天到账？急用钱。",
    "{short_name}和同类比怎么样，谁在管？", "请问{fund_name}的最低起购是多少？", "为什么{short_name}净值这几天一直跌？", "{fund_code}有没有锁定期？中途能取吗？",
    "听说{short_name}换经理了，是真的吗？", "{fund_name}托管在哪家银行，安全吗？", "定投{short_name}每月500行不行？", "Can I redeem {fund_code} before the holding period ends?",
)  # fmt: skip
_CHANNELS: Final = ("APP在线客服", "营业部柜台", "客服热线转写", "企业微信", "邮件")


def write_question(fund: SyntheticFund, day: date, random: Random) -> tuple[str, Writer]:
    """What a customer asked, without anything about the customer; half of them with what staff replied."""
    writer = Writer()
    values = {"short_name": Value(fund.short), "fund_name": Value(fund.name), "fund_code": Value(fund.code)}
    writer.put(f"渠道：{random.choice(_CHANNELS)}　时间：{shown_date(day, random.choice(DATE_STYLES[:3]))}\n")
    writer.line("客户：" + random.choice(_ASKED).replace("{", "{="), values)
    if random.random() < 0.5:
        writer.put(random.choice(("客服：请以最新公告与资料概要为准，我把链接发给您。", "坐席：已登记，理财经理稍后回电。", "回复：需要先看您的风险测评结果。")) + "\n")
    if random.random() < 0.3:
        writer.put("客户：" + random.choice(("好的，谢谢。", "那费用呢？", "能不能保证不亏？", "我再想想。")) + "\n")
    writer.put(random.choice(LABEL_LINES) + "\n")
    return f"客户咨询：{fund.short}", writer
