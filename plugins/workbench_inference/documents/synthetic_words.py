"""Names for the synthetic corpus: invented houses, banks, people, indices and products.

Every name is made up from rare characters so that none is a company's or a fund's of the real market as far as the
authors know [memory, no register was searched]; codes begin with 79, a block in which they know of no fund.
"""

from __future__ import annotations

from typing import Final

HOUSES: Final[tuple[tuple[str, str], ...]] = (
    ("澄澜", "Chenglan"), ("砚北", "Yanbei"), ("穗禾园", "Suiheyuan"), ("霁川", "Jichuan"), ("栎原", "Liyuan Oak"),
    ("汀野", "Tingye"), ("澹石", "Danshi"), ("萤渡", "Yingdu"), ("岫岚", "Xiulan"), ("箬溪", "Ruoxi"),
    ("棠序", "Tangxu"), ("鹿屿", "Luyu"), ("枕泉", "Zhenquan"), ("苎白", "Zhubai"), ("瓴高", "Linggao"),
    ("桴槎", "Fucha"), ("杪秋", "Miaoqiu"), ("湉湾", "Tianwan"),
)  # fmt: skip
COMPANY_FORMS: Final = ("{}基金管理有限公司", "{}基金管理股份有限公司", "{}资产管理有限公司")
CUSTODIANS: Final[tuple[tuple[str, str], ...]] = (
    ("澜湾银行股份有限公司", "Lanwan Bank"), ("岑港商业银行股份有限公司", "Cengang Commercial Bank"),
    ("崤函银行股份有限公司", "Xiaohan Bank"), ("砦北农商银行股份有限公司", "Zhaibei Rural Bank"),
    ("稷下银行股份有限公司", "Jixia Bank"), ("桐柏里银行股份有限公司", "Tongbaili Bank"),
    ("蒹葭储蓄银行股份有限公司", "Jianjia Savings Bank"),
)  # fmt: skip
SURNAMES: Final[tuple[tuple[str, str], ...]] = (
    ("陆", "Lu"), ("沈", "Shen"), ("欧阳", "Ouyang"), ("顾", "Gu"), ("佘", "She"), ("郗", "Chi"), ("阮", "Ruan"),
    ("燕", "Yan"), ("蔺", "Lin"), ("司徒", "Situ"), ("容", "Rong"), ("戚", "Qi"), ("廖", "Liao"), ("卓", "Zhuo"),
)  # fmt: skip
GIVEN: Final[tuple[tuple[str, str], ...]] = (
    ("砚舟", "Yanzhou"), ("疏桐", "Shutong"), ("鹤汀", "Heting"), ("未央", "Weiyang"), ("攸宁", "Youning"),
    ("沚青", "Zhiqing"), ("禾黍", "Heshu"), ("抱朴", "Baopu"), ("照野", "Zhaoye"), ("知微", "Zhiwei"),
    ("栖迟", "Qichi"), ("晏如", "Yanru"), ("行简", "Xingjian"), ("令仪", "Lingyi"), ("怀瑾", "Huaijin"),
    ("既白", "Jibai"),
)  # fmt: skip
STYLES: Final[tuple[tuple[str, str], ...]] = (
    ("稳进", "Steady Advance"), ("睿选", "Select"), ("远见", "Vision"), ("安泽", "Anze"), ("双季", "Two Seasons"),
    ("弘益", "Hongyi"), ("匠心", "Craft"), ("丰年", "Harvest Year"), ("启明", "Dawn"), ("守正", "Upright"),
    ("先进制造", "Advanced Manufacturing"), ("绿色能源", "Green Energy"), ("医疗健康", "Healthcare"),
    ("消费升级", "Consumer"), ("数字经济", "Digital Economy"), ("高端装备", "Equipment"), ("红利低波", "Dividend Low Volatility"),
    ("国债", "Treasury"), ("信用债", "Credit"), ("同业存单", "Interbank Deposit"), ("活期宝", "Cash Daily"),
)  # fmt: skip
TERMS: Final[tuple[tuple[str, str, int], ...]] = (
    ("", "", 0), ("", "", 0), ("", "", 0), ("三个月持有期", "3-Month Holding", 90), ("六个月持有期", "6-Month Holding", 180),
    ("一年持有期", "One-Year Holding", 365), ("两年定期开放", "Two-Year Open", 730), ("90天滚动持有", "90-Day Rolling", 90),
)  # fmt: skip
# kind, English, suffix of the name, risk class, management fee in hundredths of a percent, custody fee, volatility in 1/10000 a day
KINDS: Final[tuple[tuple[str, str, str, str, tuple[int, ...], tuple[int, ...], int], ...]] = (
    ("货币市场基金", "Money Market", "货币市场基金", "R1", (15, 20, 25, 33), (5, 8, 10), 1),
    ("债券型证券投资基金", "Bond", "债券型证券投资基金", "R2", (30, 40, 60, 70), (10, 15, 20), 8),
    ("混合型证券投资基金", "Mixed", "混合型证券投资基金", "R3", (60, 80, 120, 150), (15, 20, 25), 60),
    ("股票型证券投资基金", "Equity", "股票型证券投资基金", "R4", (120, 150), (20, 25), 110),
    ("指数型证券投资基金", "Index", "指数证券投资基金", "R4", (15, 50, 100), (5, 10, 20), 100),
    ("基金中基金（FOF）", "Fund of Funds", "混合型基金中基金（FOF）", "R3", (60, 90, 100), (15, 20), 50),
    ("商品型证券投资基金", "Commodity", "商品期货证券投资基金", "R5", (60, 100), (10, 20), 160),
)  # fmt: skip
RISK_WORDS: Final = {
    "R1": ("低风险", "low risk"), "R2": ("中低风险", "medium-low risk"), "R3": ("中风险", "medium risk"),
    "R4": ("中高风险", "medium-high risk"), "R5": ("高风险", "high risk"),
}  # fmt: skip
INDICES: Final[tuple[str, ...]] = (
    "合成三百指数", "合成中盘五百指数", "合成全债指数", "合成短融指数", "合成红利指数", "合成新能源主题指数", "合成医药健康指数",
    "合成商品综合指数", "合成消费龙头指数", "合成装备制造指数",
)  # fmt: skip
INDUSTRIES: Final[tuple[str, ...]] = (
    "光伏设备", "创新药", "半导体材料", "工业机器人", "预制食品", "航运物流", "特高压", "云计算", "城市燃气", "生物育种",
    "储能电池", "医疗器械", "精密铸件", "跨境电商", "水务环保", "商业航天",
)  # fmt: skip
ISSUERS: Final[tuple[str, ...]] = (
    "岚汀光能", "柘木精工", "霄垠航材", "玳川生物", "瑶圃食品", "沅芷药业", "磐砺重机", "螺洲港务", "芃野农科", "萑苇水务",
    "璞渊芯材", "栀子云服", "垣曲储能", "鸢尾医械",
)  # fmt: skip
TOWNS: Final[tuple[str, ...]] = ("澄海路", "砚池街", "稻香里", "石浦道", "枫桥巷", "临川大道")
