"""How documents of the synthetic corpus say a thing: labels, sentences, warnings. Several wordings for each field.

`{fund_name}` puts a field's value and records where it stands, `{=fund_name}` puts it without recording it.
"""

from __future__ import annotations

from typing import Final

LABELS: Final[dict[str, tuple[str, ...]]] = {
    "fund_name": ("基金名称", "产品名称", "基金全称", "名称"),
    "fund_code": ("基金代码", "产品代码", "基金主代码", "代码", "交易代码"),
    "short_name": ("基金简称", "简称"),
    "fund_type": ("基金类型", "产品类型", "基金类别", "类别"),
    "risk_class": ("风险等级", "风险收益特征（R1-R5）", "产品风险等级", "风险级别", "风险评级"),
    "manager": ("基金经理", "现任基金经理", "投资经理", "经理"),
    "management_company": ("基金管理人", "管理人", "管理机构"),
    "custodian": ("基金托管人", "托管人", "托管银行", "托管机构"),
    "benchmark": ("业绩比较基准", "比较基准", "业绩基准"),
    "inception": ("成立日期", "基金合同生效日", "成立日", "成立时间", "合同生效日"),
    "scale": ("基金规模", "资产净值", "最新规模", "基金资产净值", "规模"),
    "scale_date": ("规模截止日", "统计日"),
    "management_fee": ("管理费率", "管理费（年）", "年管理费", "基金管理费", "管理费"),
    "custody_fee": ("托管费率", "托管费（年）", "年托管费", "基金托管费", "托管费"),
    "purchase_fee": ("申购费率", "前端申购费", "申购费", "最高申购费率"),
    "redemption_fee": ("赎回费率", "赎回费", "赎回费（持有不足7日）"),
    "sales_fee": ("销售服务费", "销售服务费率", "年销售服务费"),
    "minimum": ("最低申购金额", "起购金额", "首次申购起点", "申购起点"),
    "settle_days": ("赎回到账", "赎回款到账时间", "到账时间", "资金到账"),
    "holding_days": ("最短持有期", "最低持有天数", "锁定期"),
    "nav": ("单位净值", "最新净值", "基金份额净值", "净值", "最新单位净值"),
    "nav_date": ("净值日期", "净值更新日", "估值日", "截至日期"),
    "nav_cumulative": ("累计净值", "累计单位净值", "份额累计净值"),
    "open_rule": ("开放安排", "申购赎回安排", "开放日"),
}

# Sentences of prospectuses and contracts; those of one field mean the same.
SENTENCES: Final[dict[str, tuple[str, ...]]] = {
    "fund_name": (
        "本基金的全称为{fund_name}，以下简称“本基金”。",
        "{fund_name}（以下称“该产品”）经备案后向投资者募集。",
        "现将{fund_name}的主要情况介绍如下。",
    ),
    "fund_code": ("投资者可凭代码{fund_code}办理申购与赎回。", "本基金在登记系统中的代码是{fund_code}。", "场外代码：{fund_code}，无场内份额。"),
    "fund_type": ("从类别上看，它是一只{fund_type}。", "本基金属于{fund_type}。", "运作方式为开放式，类型为{fund_type}。"),
    "risk_class": (
        "按照管理人的评价，其风险等级为{risk_class}。",
        "销售机构将该产品评定为{risk_class}，请投资者对照自身承受能力。",
        "本基金风险等级{risk_class}，适合相应及以上承受能力的投资者。",
    ),
    "manager": (
        "目前由{manager}担任基金经理。",
        "{manager}负责本基金的日常投资运作。",
        "本基金的投资决策由基金经理{manager}在授权范围内作出。",
    ),
    "management_company": ("基金管理人为{management_company}。", "管理人{management_company}承诺以诚实信用的原则管理基金财产。", "由{management_company}担任管理人。"),
    "custodian": ("基金财产由{custodian}托管。", "托管人是{custodian}。", "{custodian}作为托管人履行监督职责。"),
    "benchmark": (
        "本基金的业绩比较基准为：{benchmark}。",
        "业绩表现与“{benchmark}”相比较。",
        "为便于衡量，管理人以{benchmark}作为比较基准。",
    ),
    "inception": (
        "基金合同于{inception}生效。",
        "该产品成立于{inception}。",
        "自{inception}成立以来，本基金未变更运作方式。",
    ),
    "scale": (
        "截至{scale_date}，基金资产净值合计{scale}{=scale_unit}。",
        "{scale_date}末规模为{scale}{=scale_unit}。",
        "按{scale_date}数据，产品规模约{scale}{=scale_unit}。",
    ),
    "management_fee": (
        "管理费按前一日基金资产净值的{management_fee}年费率计提。",
        "基金管理人每年收取{management_fee}的管理费，逐日累计、按月支付。",
        "年管理费率为{management_fee}。",
        "H＝E×{management_fee}÷当年天数，H为每日应计提的管理费，E为前一日的基金资产净值。",
    ),
    "custody_fee": (
        "托管费的年费率是{custody_fee}。",
        "基金托管费按前一日资产净值{custody_fee}的年费率计提，逐日累计。",
        "托管人每年收取{custody_fee}。",
    ),
    "purchase_fee": (
        "申购金额100万元以下的，申购费率为{purchase_fee}；500万元以上按笔收取1000元。",
        "投资者申购本基金，最高费率{purchase_fee}，养老金客户另有安排。",
    ),
    "redemption_fee": (
        "持有期不足7日的，赎回费率为{redemption_fee}，并全额计入基金财产；持有满180日不收取。",
        "对持续持有期少于7日的投资者收取{redemption_fee}的赎回费。",
    ),
    "sales_fee": ("C类份额按{sales_fee}的年费率计提销售服务费。", "销售服务费年费率{sales_fee}，A类份额不收取。"),
    "minimum": (
        "首次申购的最低金额为{minimum}{=minimum_unit}（含申购费）。",
        "单笔申购不得低于{minimum}{=minimum_unit}，各销售机构另有规定的从其规定。",
    ),
    "settle_days": (
        "赎回款项一般在{settle_days}内划往投资者账户。",
        "投资者提交赎回申请并确认后，资金于{settle_days}到账。",
    ),
    "holding_days": (
        "每份份额设置{holding_days}天的最短持有期，期内不得赎回。",
        "自份额确认之日起{holding_days}天后方可提出赎回申请。",
    ),
    "nav": (
        "{nav_date}，基金份额净值为{nav}元，累计净值{nav_cumulative}元。",
        "最近一次披露的单位净值是{nav}元（{nav_date}），累计{nav_cumulative}元。",
        "截止{nav_date}日终，每份净值{nav}元，成立以来累计净值为{nav_cumulative}元。",
    ),
    "open_rule": (
        "本基金{open_rule}。",
        "关于开放期：{open_rule}。",
    ),
}

QUESTIONS_OF: Final[dict[str, tuple[str, ...]]] = {
    "fund_name": ("这只产品叫什么？", "全称是什么？"),
    "fund_code": ("代码是多少？", "在哪个代码下买？"),
    "risk_class": ("风险高不高？", "属于哪个风险等级？", "我是稳健型客户，能买吗？"),
    "manager": ("谁在管理？", "基金经理是哪位？"),
    "management_company": ("哪家公司发行的？", "管理人是谁？"),
    "custodian": ("钱放在哪家银行？", "由谁托管？"),
    "benchmark": ("跟什么比？", "业绩基准怎么定的？"),
    "inception": ("什么时候成立的？", "成立多久了？"),
    "scale": ("规模有多大？", "现在管多少钱？"),
    "management_fee": ("管理费怎么收？", "一年管理费多少？"),
    "custody_fee": ("托管费多少？", "托管收费吗？"),
    "purchase_fee": ("买的时候收费吗？", "申购费几个点？"),
    "redemption_fee": ("卖出有费用吗？", "提前赎回怎么扣？"),
    "minimum": ("多少钱起买？", "最低买多少？"),
    "settle_days": ("赎回几天到账？", "钱什么时候回来？"),
    "holding_days": ("要拿多久？", "中途能取出来吗？"),
    "nav": ("现在净值多少？", "最新净值是几块？"),
    "open_rule": ("什么时候开放？", "每天都能买卖吗？"),
    "fund_type": ("是什么类型的基金？", "股票型还是债券型？"),
}

ENGLISH: Final[dict[str, tuple[str, ...]]] = {
    "fund_name": ("Fund name: {fund_name}", "{fund_name} (the Fund)", "Product: {fund_name}"),
    "fund_code": ("Code: {fund_code}", "Fund code {fund_code}", "Identifier: {fund_code}"),
    "fund_type": ("Type: {fund_type} fund", "Category: {fund_type}"),
    "risk_class": ("Risk class: {risk_class}", "Rated {risk_class} on a scale from R1 to R5.", "Risk rating {risk_class}"),
    "manager": ("Portfolio manager: {manager}", "Managed by {manager}.", "Manager: {manager}"),
    "management_company": ("Management company: {management_company}", "Issuer: {management_company}"),
    "custodian": ("Custodian: {custodian}", "Assets are held by {custodian}.", "Depositary: {custodian}"),
    "inception": ("Inception date: {inception}", "Launched on {inception}.", "Since {inception}"),
    "management_fee": (
        "Management fee: {management_fee} p.a.",
        "An annual management fee of {management_fee} is charged on net assets.",
    ),
    "custody_fee": ("Custody fee: {custody_fee} p.a.", "Custody is charged at {custody_fee} a year."),
    "purchase_fee": ("Subscription fee: up to {purchase_fee}", "Front-end load: {purchase_fee}"),
    "minimum": ("Minimum subscription: CNY {minimum}", "Minimum investment CNY {minimum}"),
    "nav": ("NAV per unit: {nav} ({nav_date})", "On {nav_date} the unit value stood at {nav}."),
    "scale": ("Fund size: CNY {scale} million", "Net assets: CNY {scale} million as of {scale_date}"),
    "settle_days": ("Redemption proceeds: {settle_days}", "Proceeds are paid on {settle_days}."),
}

OPEN_RULES: Final = (
    "每个工作日开放申购与赎回",
    "每周三开放申购，每月首个工作日开放赎回",
    "每季度末月的前五个工作日为开放期",
    "封闭运作期内不办理申购与赎回，期满后开放五至二十个工作日",
    "交易日9:30至15:00受理，15:00后提交的申请顺延至下一交易日",
)

WARNINGS: Final = (
    "投资有风险，过往业绩不预示未来表现，也不构成对业绩的保证。",
    "本基金可投资于存托凭证，除与其他品种共同的风险外，还面临特有风险。",
    "巨额赎回：单个开放日净赎回申请超过上一日总份额的10%时，可部分延期办理。",
    "管理人承诺勤勉尽责，但不保证盈利，也不保证最低收益。",
    "投资者应当认真阅读招募说明书与基金合同，了解自身的风险承受能力。",
    "股票资产占基金资产的比例为60%至95%，其中投资于主题证券的比例不低于非现金资产的80%。",
    "每个交易日日终在扣除保证金以后，保持不低于资产净值5%的现金或一年以内到期的政府债券。",
    "本资料概要提供重要信息，是招募说明书的一部分，作出投资决定前请阅读完整的文件。",
    "基金净值会因市场波动等因素产生波动，前20个交易日最大回撤可能超过3%。",
)

LABEL_LINES: Final = (
    "（合成资料：由程序按固定种子写成，不对应任何真实机构、产品或人员。）",
    "【合成样本】本文全部名称与数字均为虚构，仅供演示与测试。",
    "说明：本文为合成文本，请勿作投资依据。",
    "Synthetic document: every name and figure is invented for demonstration.",
)
