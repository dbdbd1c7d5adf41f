"""The fields that a template can state, and how people ask for them in Chinese and English.

A table, not a grammar: a phrase is found in the folded question, the longest first, and names its field. What nobody wrote
down here is found by the wording of the documents, or not at all. In phrases `…` stands for any one character of a sentence, and
◆ for a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Known:
    """A field. zh, en: what an answer calls it. phrases: how questions name it, folded, patterns of `re`.

    daily: its values belong to days; the newest counts, or that of the day asked for. ranked: two values can be compared.
    day: the field of the same document that says of which day the value is.
    """

    zh: str
    en: str
    phrases: tuple[str, ...] = field(repr=False)
    daily: bool = False
    ranked: bool = False
    day: str = ""


NAMED = "◆"
DATED = "◇"
"""What stands in a masked question for a name, and for a date."""

_WILD = re.compile(r"(?:…|(?<!\\)\.)\{[0-9,]+\}\??")


def pattern(phrase: str) -> re.Pattern[str]:
    """A phrase of this table, compiled for folded text. What stands for any characters is in groups, all that there are."""
    grouped = _WILD.sub(r"(\g<0>)", phrase).replace("…", "[^。?!、;]")
    return re.compile(rf"(?<![a-z])(?:{grouped})" if phrase.isascii() else grouped)


FIELDS: dict[str, Known] = {
    "management_fee": Known("管理费率", "management fee", (
        "(?:给|付给|交给|付)(?:基金)?(?:公司|管理人|管理方|团队)…{0,6}(?:报酬|费|多少|几个点|比例)?", "打理费|管理成本|持有成本|年度?费用|运作费",
        "(?:公司|管理人|团队|他们|管理方)…{0,10}?(?:抽|拿走|拿|收走|收取|收|扣|提)…{0,4}(?:几个点|多少|比例|百分之几|几成|几)",
        "每年(?:要|得|会)?(?:收|扣|付|交|花|被扣|被收)(?:我)?(?:掉|走)?(?:多少|几|百分之几)(?:费|个点|钱|管理)?",
        "(?:running|ongoing|yearly|annual) (?:charge|cost|fee|expense)s?", "(?:fee|charge)s? (?:per|a|each|every) year",
        "(?:per|a|each|every) year .{0,10}?(?:fee|charge)", "manager (?:get|take|charge|earn)s?(?: paid)?",
        "(?:年|基金)?管理费(?:率|用|标准)?(?:年费率)?", "管理…{0,14}(?:报酬|费率|收费|几个点|百分之几|扣掉)",
        "(?:annual )?management (?:fee|charge|cost|expense)s?(?: rate)?", "(?:charges?|fees?) for management",
        "manager'?s fee", "基金公司(?:每年|一年)?(?:收|扣|抽)(?:我)?(?:多少|几)", "管理人(?:每年|一年)?(?:收|扣|抽|提)(?:取)?(?:多少|几)",
        r"how much does .{0,60}? charge(?: per year| a year| annually)?(?=\?|$)",
    ), ranked=True),
    "custody_fee": Known("托管费率", "custody fee", (
        "(?:看管|保管|托管|存管|代管)…{0,14}?(?:几个点|比例|百分之几|费率|拿多少|收多少|多少费|的费用?|抽|收费)",
        "(?:付|交|给)(?:给)?(?:托管)?(?:人|行|银行|方)…{0,8}(?:费|多少|几|比例|保管)?", "银行(?:每年|一年)?…{0,4}(?:拿|收|抽|扣|提)(?:走|取)?(?:多少|几|百分)?", "托管…{0,12}?银行…{0,6}(?:拿|收|抽|扣|提)(?:走|取)?(?:多少|几|百分)",
        "(?:take|charge|pay|cost|fee|get)s? .{0,30}?for custody", "bank .{0,6}?(?:get|charge|take|paid|earn)s?", "safekeeping .{0,30}?(?:fee|cost|charge|paid)?",
        "(?:fee|cost|charge|paid)s? .{0,10}?(?:for )?safekeeping", "(?:年|基金)?托管(?:费|的?报酬|的?收费)(?:率|用)?(?:年费率)?", "保管…{0,8}(?:费|点|收)",
        "托管(?:人|银行|行)(?!是)…{0,5}(?:费率|收费|收取|收多少|收几|费用|报酬)",
        "(?:annual )?(?:custody|custodian|custodial|depositary|trustee)(?:'s)? (?:fee|charge|cost)s?(?: rate)?",
    ), ranked=True),
    "sales_fee": Known("销售服务费率", "sales service fee", (
        "(?:销售)?渠道(?:每年)?(?:的)?(?:服务)?(?:费|收|拿|抽)", "(?:付|给|交)…{0,3}(?:销售)?渠道(?:的)?", "持续(?:营销|销售|服务)(?:费|成本)?",
        "c类…{0,10}?(?:每年|额外|另外|要|得)…{0,4}(?:扣|收|付|交|费)", "(?:额外|另外)(?:每年)?(?:扣|收)",
        "(?:ongoing )?(?:distribution|trail|servicing) (?:fee|charge|cost)s?", "ongoing sales", "(?:年)?销售(?:服务)?费(?:率|用)?",
        "c(?:类|份额)…{0,12}(?:服务费|销售费)", "(?:sales|distribution|selling)(?: and)?(?: service)? (?:fee|charge|cost)s?(?: rate)?",
        "12b-1",
    ), ranked=True),
    "purchase_fee": Known("申购费率", "purchase fee", (
        "(?:买|进场|进去|进来|入手|购入|上车|申购)…{0,20}?(?:抽|扣掉|扣除|扣|(?:收|交)(?:多少|几)|成本|代价|几个点|百分之几|交出去|损耗|付几|要付|额外付|手续)", "(?:进场|入手|买入|申购|入场)(?:的)?(?:成本|代价|费)",
        "sales charge", "entry (?:cost|price)",
        "(?:cost|charge[ds]?|pay|fee)s? .{0,20}?(?:get(?:ting)? (?:in|into)|buying|entering|investing|to buy|to get in|to invest)",
        "(?:最高|前端)?申购(?:手续)?(?:费率|费用|费)", "(?:申购|买入|买进|购买)…{0,30}?(?:手续费|费率|费用)", "买(?:的时候|时|这只)…{0,10}?(?:手续费|费率|费用|花|扣)",
        "我想买…{0,40}手续费", "前端(?:收费|费用|费率|费)(?:标准)?", "front[- ]?end (?:load|fee|charge)",
        "(?:purchase|entry|subscription|buying|sales load) (?:fee|charge|cost|load)s?",
        r"(?:fee|charge|cost)s? (?:to|for|when|on) (?:buy|purchas|subscri)\w*",
    ), ranked=True),
    "subscription_fee": Known("认购费率", "initial subscription fee", (
        "认购(?:手续)?(?:费率|费用|费)",
    ), ranked=True),
    "redemption_fee": Known("赎回费率", "redemption fee", (
        "(?:退出来?|走人|离场|出来|撤出|撤|跑路|赎|卖)…{0,16}?(?:损失|代价|罚|几个点|百分之几|成本|惩罚|扣)",
        "(?:拿|持有|持)(?:不|未)(?:满|到|足)…{0,16}?(?:罚|扣|费|代价|损失|多少)",
        "(?:一周|七天|7天|7日|七日|几天)(?:以?内|之内|不到|就)…{0,14}?(?:代价|罚|扣|费|损失|卖|赎|走)",
        "(?:cost|charge[ds]?|pay|fee|penalty)s? .{0,20}?(?:get(?:ting)? out|selling|leaving|exiting|redeeming|to sell|to leave|to redeem)",
        "sell(?:ing)? .{0,20}?(?:early|within (?:a|one) week|within (?:7|seven) days).{0,20}?(?:cost|fee|charge)?",
        "(?:短期)?赎回(?:手续)?(?:费率|费用|费)", "(?:赎回|卖出|卖掉|卖了|卖|退出|取出|赎)…{0,40}?(?:手续费|费率|费用|收费|扣多少|扣几|要扣|罚|惩罚性)",
        "(?:不到|不足|未满|少于|七天内|7天内|7日内|七日内)(?:7|七)?…{0,14}?(?:扣|费|收多少|罚)",
        "(?:redemption|exit|back[- ]?end|short[- ]?term)(?: redemption)? (?:fee|charge|load|cost|penalty)s?",
        r"(?:fee|charge|cost|penalty)s? (?:to|for|when|on|if) (?:i |you )?(?:redeem|sell|exit)\w*",
    ), ranked=True),
    "risk_class": Known("风险等级", "risk rating", (
        "(?:算|是|属于|被?评(?:成|为|级|定)?|被?定(?:成|为)|归(?:在|为|到)|列(?:在|为))(?:了)?(?:第|在第)?(?:哪|几|什么)(?:一)?(?:个)?(?:级|档|等)(?:风险)?",
        "安不安全", "安全(?:吗|么|性|不|程度)", "(?:保守|稳健|激进|平衡|谨慎|积极|进取)型(?:的)?(?:人|客户|投资者)?", "(?:风险)?承受(?:能力|力|水平)", "适当性",
        r"(?:评级|级别)(?=怎样|怎么样|如何|是|$|\?)", "几r", "r[1-5](?:到|至|-|~)r[1-5]…{0,8}(?:哪|几)(?:一)?(?:档|级|个)?", "r(?:值|级|等级)(?:是)?(?:几|多少)?", "第几档", r"safe(?:ty|r)?\b", "level of risk",
        "(?:conservative|cautious|aggressive) (?:client|investor|customer)s?",
        "(?:产品|基金)?风险(?:的)?(?:等级|级别|评级|分类|类别|档次|程度|水平|评价|几级)", "r几", "r[1-5](?:级)?(?:产品|吗|么|还是)",
        "(?:哪|几|什么)(?:一)?(?:档|级)(?:的)?风险", "几级(?:的)?风险", "风险…{0,8}(?:大不大|高不高|高吗|大吗|多高|多大|高低|哪一档|哪档|几级)",
        "(?:中高|中低|低|中|高)风险(?:产品|的?吗|么)?", "风险(?=[高低大小]|$)",
        "(?:risk|risky)(?: (?:rating|class|level|grade|category|profile|score|classification))?",
        "how (?:risky|safe|dangerous)",
    ), ranked=True),
    "manager": Known("基金经理", "portfolio manager", (
        "谁(?:在|来)?(?:说了算|拍板|主导|决策|打理|管钱|牵头|带队)", "(?:投资)?负责人(?:是谁|叫什么|姓名)?", "掌柜|掌管|操盘", "(?:换成|换了|换|改由|交给)(?:了)?谁(?:了)?",
        "(?:接棒|接班|接手|接任)(?:的|者|人)?(?:是)?(?:谁)?", "经理人", "谁(?:在)?(?:做|负责)(?:投资|管理|决策)?",
        "picks? (?:the )?(?:stocks|bonds|investments|securities)",
        "(?:in charge|at the helm|calls the shots|makes the (?:investment )?decisions)",
        "(?:name|person) .{0,12}?(?:running|managing)", "(?:现任|新任|现在的|目前的|当前的|新的|新)?(?:基金|投资)经理(?:人)?(?:姓名|名字|叫什么)?",
        "(?:谁|哪位|哪个人|什么人|由谁|哪一位)(?:现在|目前|在)?(?:来)?(?:负责)?(?:管理|管着|管|操盘|打理|掌舵|负责|运作|执掌|做投资|投资决策)(?!费|人)", "(?:操盘手?|掌舵人?|掌门)",
        "由谁…{0,6}(?:管|投资|运作|操作)", "新来的(?:经理)?(?:叫|是|姓)?", "换(?:了)?人", "负责…{0,24}?人(?:是谁|叫什么|姓什么|的?名字)", "谁(?:来)?接(?:的|手|班|替|棒)?", "哪位经理", "谁(?=离任|离职|卸任|走了|接任|接手|接替|上任)",
        "(?:portfolio|fund|current|investment) managers?(?! fee)",
        "who (?:currently |now |is )?(?:manages|managing|runs|running|in charge of|is in charge|looks after|is responsible for|leads)",
        "managed by (?:whom|who)", "manager'?s name", "(?<!客户)经理(?=是谁|叫|换|姓|人选|现在)",
    )),
    "management_company": Known("基金管理人", "fund management company", (
        "背后(?:的)?(?:是)?(?:(?:哪|谁|什么)(?:一)?(?:家)?(?:机构|公司)?|机构|公司|$)", "隶属(?:于)?(?:哪|谁)?(?:家|个)?",
        "归(?:哪|谁)(?:一)?(?:家|个)?(?:公司|机构)?(?:管|所有)?", "东家|母公司|所属(?:公司|机构)?", "属于(?:哪|什么)(?:一)?(?:家|个)(?:公司|机构)?", "哪(?:一)?家机构",
        "出自(?:哪|谁)(?:家|个)?", "(?:is |stands )?behind", "(?:which|what) (?:group|institution|provider|sponsor|firm)(?! .{0,30}?(?:custod|keep|hold|safe))",
        "fund family", "belongs? to", "(?:基金)?管理人(?:名称|全称|是谁|是哪|叫)?(?!费)", "管理(?:公司|机构)", "(?:哪家|哪个|什么|哪一家)(?:基金)?(?:管理)?公司",
        "(?:谁|哪家|哪个公司|哪里)(?:家)?(?:公司)?(?:发行|发起|推出|出品|出的)", "(?:发行|发起|所属|旗下)(?:方|人|公司|机构|的公司)", "基金公司(?=是|叫|名)", "谁家(?:发|出|管|做)?的",
        "哪家(?:的)?(?:产品|基金)(?!托管)",
        "(?:which|what|name of the) (?:fund )?(?:company|house|firm|issuer|asset manager|management company)",
        "fund (?:house|company)", "management (?:company|firm)",
        r"(?:who|which \w+) (?:issued|issues|launched|offers|sponsors)", r"\bissuer\b", "asset manager",
    )),
    "custodian": Known("基金托管人", "custodian", (
        "(?:由|归)?(?:谁|哪家|哪个|哪家银行|什么银行)?(?:来)?(?:看管|看着|看住|存管|代管|保存)(?:资产|的钱|着)?",
        "(?:资金|资产|钱)(?:存管|托管|存放|放|存|保管)(?:在)?(?:哪|谁)(?:里|儿|家|个)?(?:银行)?",
        "where (?:are|is) .{0,70}?(?:kept|held|stored|deposited|parked)",
        "(?:keeps|guards|holds|looks after) (?:the )?(?:assets|money|cash|securities)", r"safekeep\w*",
        "(?:基金)?托管(?:人|行|银行|机构|方)(?:名称|是谁|是哪)?", "(?:由)?(?:谁|哪家|哪个|什么|哪一家)(?:银行|机构)?(?:来|负责)?(?:托管|保管)",
        "(?:托管|存放|保管|放)在(?:哪|什么)(?:家|个)?(?:银行|里|机构)?", "哪家银行", "(?:哪个|什么)银行", "(?:钱|资产|财产)…{0,8}(?:保管|托管|放在|存在)",
        r"\bcustodian(?! fee)s?\b", "depositar(?:y|ies)(?: bank)?(?! fee)", "trustee(?! fee)", "(?:which|what) bank",
        "who (?:holds|keeps|safeguards)(?: the)? (?:assets|money)", "custody bank", "held in custody",
    )),
    "inception": Known("成立日期", "inception date", (
        "面世|问世|开的?张|起始日(?:期)?|创设", "从(?:什么时候|哪年|何时|哪一年|几几年|哪个年份)(?:就)?(?:开始|起)(?:跑|运作|运行|运营|有)?(?:的)?",
        "(?:什么时候|何时|啥时候|哪年)(?:开始)?(?:跑|运作|运营|有|推出|上线|发行|成立)(?:的|起来)?", "(?:多少|几)岁", "存在(?:了)?(?:多久|多少年|几年)", "(?:老|新)基金",
        "(?:历史|年头)(?:有)?(?:多久|多长|几年|多少年)?", "(?:多少|几)(?:个)?年(?:头|历史|了)", "走过(?:了)?(?:多少|几)(?:年|个)", "首发日",
        "(?:been|was|is) around", "when did .{0,70}?(?:start|begin|open|launch)",
        "(?:start|began|begin)(?:ed|ning|s)?(?: date| operating| trading)?", "how many years",
        "come into (?:being|existence)", "birth(?:day|date)?", "since (?:what|which) (?:year|date)",
        "(?:基金)?成立(?:的)?(?:日期|时间|日|于|年份|于何时|多久|多少年)?",
        "(?:基金)?合同(?:是)?(?:什么时候|哪天|哪一天|哪日|几号|何时)?(?:开始|正式)?生效(?:的)?(?:日期|日|时间)?(?:是)?(?:哪天|哪一天|何时|什么时候|几号)?",
        "(?:哪年|哪一年|哪天|什么时候|何时|几时)(?:开始)?(?:成立|设立|运作|诞生|创立|建立)", "设立(?:日期|时间|日)?", "(?:运作|存续|运行)(?:了)?(?:多久|多少年|多长时间|几年)",
        "诞生", "inception(?: date)?", "(?:was|is) .{0,60}?(?:established|founded|launched|created|set up|incepted)",
        "(?:established|founded|launched|set up)", "since when", "(?:launch|establishment|start|founding) date", "how old is",
    )),
    "scale": Known("基金规模", "net assets", (
        "家底|体量|资金量|总盘", "(?:多少|几)(?:个|百|十)?亿", "(?:多大|多少)(?:的)?(?:一)?笔?(?:资产|资金)", "有多大(?![年岁])",
        "(?:money|capital|assets) (?:is |are )?(?:there )?(?:in|under)", "how much (?:money|capital)",
        "(?:total|overall) (?:size|money|value|assets)", "(?:big|large) is", "(?:基金|资产|产品|最新|管理)?规模",
        "(?:基金)?(?:资产净值|净资产)(?:合计|总额|总值)?", "(?:管(?:着|理着|理了|了)|有|募集了|持有)(?:一共|总共|大约)?(?:多少)(?:的)?(?:钱|资金|资产|亿)",
        "盘子(?:有)?(?:多大)?", "体量", "多大(?:规模|的盘子)", "总资产", "一共(?:管着|有)?多少(?:钱|亿|资产)", "多少个亿", "net assets",
        "(?:fund|asset) size", "how (?:big|large)", r"\baum\b", "assets under management", "total assets", "size of",
    ), daily=True, ranked=True, day="scale_date"),
    "nav_cumulative": Known("累计净值", "accumulated NAV", (
        "分红…{0,4}(?:算|计|加|还|补)(?:进|入|回|上)…{0,8}(?:值|价|多少)", "(?:算上|加上|计入|包含|含|连)…{0,8}(?:分红|红利|派息)…{0,16}(?:值|净值|价|钱|多少)", "(?:份额|基金|单位)?累计(?:单位|份额)?净值", "累积(?:单位|份额)?净值",
        "净值…{0,4}累计", "复权净值", r"(?:accumulated|cumulative|accumulative|acc\.?)(?: unit)? (?:nav|net asset value|net value|value)",
        "(?:含|加上|算上|包括)…{0,2}分红…{0,10}净值", "nav including dividends",
    ), daily=True, ranked=True, day="nav_date"),
    "nav": Known("单位净值", "NAV per unit", (
        "多少钱(?:一|每|1)份", "(?:现在的?|最新的?|最近的?|当前的?|眼下的?)?(?:现价|报价|单价|价位|价格)(?:是)?", "(?:每|一|1)份(?:是)?(?:什么|多少)(?:价|钱)?(?:格|位)?",
        "(?:一|每|1)份卖", "(?:share|unit)(?:s)?(?: is| are)? (?:worth|price|value|cost)", "one (?:share|unit)",
        "(?:priced?|quoted|trading) (?:at|now)?", "how much is (?:a|one|each) (?:share|unit)",
        "(?:最新|最近|基金|单位|份额|当前|每份|正确的|更正后的?){0,4}(?:单位|份额)?净值(?:是|为)?", "(?:一份|每份|每一份|1份)…{0,6}(?:值|多少钱|价格|净值|价)",
        r"(?:unit )?(?:net asset value|net value|\bnav\b)(?: per (?:unit|share))?", "unit price", "price per (?:unit|share)",
        "现在(?:什么|多少)价(?:格|位)?", "(?:worth|price)(?= of one unit| per)", "one unit(?: of .{0,60}?)? worth",
    ), daily=True, ranked=True, day="nav_date"),
    "nav_date": Known("净值日期", "NAV date", (
        "净值(?:的)?(?:日期|截止日|更新日|是哪天的|是哪一天的|更新到)", "估值日", "nav date", "date of (?:the )?(?:latest )?nav",
    )),
    "minimum": Known("起购金额", "minimum subscription", (
        "多少(?:钱)?(?:就)?(?:够|能|可以)(?:买|申购|投|参与|上车|进)", "入门(?:资金|金额|门槛|价)", "(?:多少|几)(?:钱|元|块)?(?:起步|起买|开始买|打底)",
        "起步(?:金额|价|资金)?", "(?:一百|几百|一千|十|一|100|10|1)(?:块|元)(?:钱)?(?:能|可以|够|行)(?:不能|不可以|不够|不行)?(?:买|申购|投)?",
        "least (?:i |you |one |that |amount |sum )", "(?:start|begin|get started) with",
        "(?:small|low)(?:est)? (?:amount|sum|ticket|order)",
        "how much (?:money )?(?:do|must|should) (?:i|you|one) (?:need|put|have)",
        "(?:首次|单笔|最低|最少|第一次){0,3}(?:申购|认购|购买|投资|买入)?(?:的)?(?:起点|起购|起投|门槛|最低金额|最低限额|下限)(?:金额|点)?",
        "(?:最少|最低|至少|起码|最小)(?:要|得|需要|可以|能)?(?:申购|购买|买入|买|投|花|投入|认购)(?:多少|几)?",
        "(?:多少|几块|几)(?:钱|元)?(?:起|就能|就可以|能|可以)(?:购|投|买)?(?:到)?", "几块钱能买", "(?:第一次|首次)…{0,30}?(?:至少|最少|最低|多少)", "申购起点",
        "(?:单笔)?(?:申购|购买)(?:最低|下限|不得低于)", "(?:调整后|新的)(?:的)?起点",
        r"(?:minimum|min\.?|smallest|lowest)(?: initial)? (?:subscription|investment|purchase|amount|buy|ticket|sum)(?: amount)?",
        "(?:at least|how little) .{0,60}?(?:invest|buy|subscribe)", "minimum(?! (?:holding|time|period|term|days))", "least .{0,20}?(?:invest|buy|subscribe)",
        "how much do i need",
    ), ranked=True),
    "benchmark": Known("业绩比较基准", "benchmark", (
        "对照(?:什么|哪|的)?", "(?:参照|参考)(?:物|系|的)?(?:是)?(?:什么|哪个|哪些)?(?:指数)?",
        "(?:跑赢|打败|战胜|超越|盯着|瞄准)(?:的)?(?:是)?(?:什么|谁|哪个|哪些|啥)?(?:指数|目标)?", "比的是(?:什么|哪|啥)",
        "(?:业绩|表现|好坏)(?:的)?(?:好坏)?(?:用|以|拿|靠)?(?:什么|哪个)?(?:来)?(?:衡量|评价|判断|对比)", "标尺|标杆", "(?:which|what) ind(?:ex|ices)",
        "(?:beat|outperform|track|yardstick|reference index)", "(?:业绩)?(?:比较)?基准",
        "(?:跟|和|与|拿|同)(?:什么|哪个|哪些|啥)(?:指数)?…{0,6}(?:比|对标|衡量)", "对标(?:什么|哪个|的)?(?:指数)?", "业绩(?:拿什么|怎么)(?:衡量|比)",
        r"\bbenchmarks?\b(?: index)?", "measured against", "compared (?:with|to|against)(?= what| which)",
        "参照(?:什么|哪个|的)?(?:指数)?",
    )),
    "fund_type": Known("基金类型", "fund type", (
        "(?:股票|债券|混合|货币|指数|商品|权益|固收)(?:类|型)?(?:的)?还是", "哪种基金|什么基金|哪类基金", "主要投(?:资)?(?:什么|哪|于)",
        "(?:equity|bond|mixed|money market) or", "asset class", "(?:kind|sort) of (?:fund|product|thing)",
        "(?:基金|产品)(?:的)?(?:类型|类别|种类|品种)", "(?:是|属于|算)(?:什么|哪种|哪类|哪一类|哪一种|何种|啥)(?:类型|样|种类|类)?(?:的)?(?:基金|产品)",
        "(?:什么|哪种|哪一类|哪类|何种)(?:类型|种类|类别|型)(?:的)?(?:基金|产品)?", "类型", "类别",
        "股票型还是|债券型还是|混合型还是|是(?:股票|债券|混合|货币|指数|商品)型(?:的)?(?:基金)?(?:吗|么|还是)",
        "(?:what|which) (?:type|kind|category|sort)(?: of (?:fund|product))?", "fund (?:type|category)", "type of fund",
        "category",
    )),
    "fund_code": Known("基金代码", "fund code", (
        "(?:基金|产品|交易|申购|场外|主)?代码(?:是)?(?:多少|什么)?", "编号是多少", r"(?:fund |product |trading )?codes?\b", "ticker", "identifier",
    )),
    "share_code": Known("份额代码", "code of this share class", ()),
    "fund_name": Known("基金名称", "fund name", (
        "(?:基金|产品|它)?(?:的)?(?:全称|全名)", "(?:基金|产品|◆)(?:的)?(?:名称|名字)", "(?:哪只|哪一只)(?:基金|产品)",
        r"◆(?:这个)?(?:代码|基金|产品)?(?:是|叫|指的是|对应)(?:哪只|哪一只|什么|哪个|啥)(?:基金|产品|名字|名)?(?:$|\?)", "full name", "official name",
        "name of (?:the |this )?(?:fund|product)", "(?:which|what) fund(?= (?:has|is|does) )",
    )),
    "other_name": Known("其他语言名称", "name in another language", ("(?:英文|外文|中文)(?:全)?名(?:称|字)?", "(?:english|chinese) name")),
    "short_name": Known("基金简称", "short name", (
        "简称", "short name", r"abbreviat\w+",
    )),
    "settle_days": Known("赎回到账时间", "redemption settlement", (
        "(?:拿到|提|取|套|变)(?:出|到|回)?(?:现金|现|钱)", "(?:用上|见到|收到|收回|看到)(?:这笔|我的)?(?:钱|款|资金)",
        "(?:钱|资金|款|现金)…{0,6}(?:回|到|进|打)(?:到|进)?(?:我的)?(?:银行卡|卡|账户|账上|账|手里|手上|手|口袋)",
        "(?:多久|几天|何时|什么时候|多长时间)(?:能|才|可以|会)*(?:到|回|进)(?:到)?(?:我的)?(?:银行)?(?:卡|账|手)", "几个工作日",
        "(?:get|receive|see|have) (?:my |the |your )?(?:money|cash|proceeds)(?: back)?", "cash(?:ing)? out", "money back",
        r"(?:sold|selling|redeem\w*) .{0,40}?(?:money|cash|paid|how long|when)",
        r"(?:赎回|卖出|卖了|卖掉|取出|退出|变现)…{0,30}?(?:到账|回来|到帐|拿到钱|到手|回款|资金到|能到|几天|多久|什么时候到|t\+几|t加几)",
        "(?:赎回)?(?:款|资金|钱|款项)?(?:的)?(?:到账|到帐)(?:时间|天数|日期|几天|多久|速度|日)?", r"t\+几",
        "(?:钱|资金|款)…{0,8}(?:多久|几天|什么时候|何时|什么时间)…{0,6}(?:到|回|拿)", "回款",
        "redemption (?:settlement|proceeds|payment|money|cash)", "settle(?:ment|s)?(?: (?:days?|time|period|cycle))?",
        "(?:days?|long|when|time|soon|fast) .{0,60}?(?:redemption|proceeds|money|cash|paid|arrive)",
        "(?:money|cash|proceeds) .{0,40}?(?:arrive|back|paid|account)",
    )),
    "holding_days": Known("最短持有期", "minimum holding period", (
        "(?:多久|几天|多少天|多长时间)(?:之?内)?(?:都)?不(?:能|可以|许|准)(?:动|卖|赎|取|退)", "不能(?:动|卖|赎回|取出)(?:多久|几天|多少天)?", "捂(?:多久|几天|多少天|住)?",
        "(?:至少|最少|起码|必须|需要|要|得)(?:先)?(?:放|拿|持|捂|锁|存|等)…{0,3}(?:多久|多少天|几天|多长|满)", "冻结(?:多久|期)?", "封闭(?:多久|多长|几天)",
        "(?:money|fund|cash|it) .{0,12}?(?:locked|tied up)", "lock(?:ed)?(?: up| in)?", "tied up",
        "how long before .{0,30}?(?:sell|redeem|withdraw)", "(?:must|need to|have to) (?:i )?(?:hold|keep)",
        "最短(?:的)?(?:持有(?:期限?|天数|时间)?|要拿|拿|期限)", "最低持有(?:天数|期限?)?", "锁定(?:期|多久|多长时间)?", "封闭期",
        "(?:至少|最短|最少)(?:要|得|需要)?(?:持有|拿)…{0,4}(?:多久|多长|几天|多少天)?",
        "(?:多少天|多久|几天|多长时间)(?:以后|之后|后)?(?:才)?(?:能|可以|可)(?:赎回|卖|取|退)", "持有…{0,4}(?:多久|多长|几天|多少天)…{0,4}(?:才|能|可)?",
        "(?:中途|提前)(?:能|可以)?(?:取|赎|卖|退)", r"(?:minimum|min\.?|shortest) holding(?: period| days?| time)?",
        "lock[- ]?(?:up|in)(?: period)?", "holding period", "how long (?:must|do|should) .{0,40}?(?:hold|keep|wait)",
        "before .{0,20}?(?:can|may) (?:redeem|sell)",
    ), ranked=True),
    "open_rule": Known("申购赎回安排", "dealing days", (
        "(?:哪些|什么|哪几|哪)(?:个)?(?:日子|天|时候|时间|交易日)(?:里)?(?:能|可以|可|允许)?…{0,10}?(?:交易|买卖|进出|申赎|操作|申购|赎回|买入)",
        "每天(?:都)?(?:能|可以|可)(?:买|卖|交易|申购|赎回|进出)", "随时(?:都)?(?:能|可以|可)?(?:买|卖|申|赎|进出)", "(?:on )?(?:which|what) days",
        "(?:can|may) (?:i |one |we |investors )?(?:trade|deal|buy and sell)", "几点(?:之)?前|下单时间|交易时间|交易日历", "(?:any|every) day",
        "开放(?:日|期|时间|安排|频率|规则)", "(?:什么时候|哪些天|哪几天|哪天|何时|多久)(?:会)?(?:才)?(?:一次)?(?:开放|能申购|可以申购|可以买|能买|接受申购|能赎|可以赎|能卖|可以卖)",
        "(?:申购赎回|申赎)(?:的)?(?:安排|规则|时间)", "开放…{0,6}(?:安排|频率|规则)",
        "(?:when|how often) .{0,70}?(?:open|dealt|traded)(?: for (?:subscription|dealing|redemption))?",
        r"when (?:can|may) .{0,70}?(?:bought|sold|buy|sell|redeem\w*|purchased?|subscribed?)\b", "(?:dealing|open|opening|trading) (?:days?|hours|rule|frequency|schedule)", "开门",
    )),
    "effective_date": Known("生效日期", "effective date", (
        "(?:从|自)?(?:哪天|什么时候|何时|哪日|哪一天|几号|什么时间)(?:起|开始)?(?:生效|执行|实施|实行|适用|调整|变更|上任|接任|接手|就任|到任|任职|换)(?:的)?",
        "(?:开始|起)(?:生效|执行|实施|适用)(?:的)?(?:日期|时间|日)?", "(?:生效|执行|实施|适用|任职|变更)(?:日期|时间|日)",
        "(?:生效|执行|实施|适用|上任|接任|接手|到任)…{0,4}(?:是)?(?:哪天|什么时候|何时|几号)", "(?:何时|哪天|哪一天|几号|什么时候)(?:开始)?起(?:适用|生效|执行|实施|降|升)?",
        "(?:take|took|takes|come|came|go|went) (?:into )?effect", "effective(?: date| from| as of)?",
        "start(?:s|ed)? to apply", "as of when", "from (?:when|which day|what date)",
    )),
    "dividend": Known("每10份分红", "dividend per 10 units", (
        "(?:分红|红利|派息|派现|收益分配)(?:方案|金额|比例|标准|多少|是多少|了多少)?", "(?:每|一)?(?:10|十)份(?:基金份额)?(?:分|派|发|分配)?(?:现金红利|红利)?(?:多少|几)?",
        "派(?:发)?(?:多少|了多少|几)", "分多少(?:钱|红)?", "(?:dividend|distribution|payout)s?(?: amount| per (?:10|ten) units)?",
        "(?:distribute|pay out)s?(?: per (?:10|ten) units)?",
    ), ranked=True),
    "dividend_number": Known("分红次数", "number of the distribution", (
        "第几次(?:分红|派)?", "which distribution", "how many(?:th)? (?:dividend|distribution)",
    )),
    "record_date": Known("权益登记日", "record date", (
        "(?:权益|股权|分红)?登记日(?:期)?", "(?:哪天|何时|什么时候|几号|哪一天)…{0,3}(?:登记|在册|名册)", "登记…{0,3}(?:日期|时间)",
        "(?:之前|前)(?:持有|买)…{0,6}(?:分红|红利)", "record date", "date of record",
    )),
    "ex_date": Known("除息日", "ex-dividend date", (
        "除息(?:日|日期)?", "除权(?:日|日期)?", r"ex[- ]?dividend(?: date)?|ex[- ]date\b",
    )),
    "pay_date": Known("红利发放日", "payment date", (
        "(?:红利|分红|现金红利|股息|分红款|派息)(?:款)?(?:的)?(?:发放|派发|到账|发|支付|划出)(?:日|日期|时间)?",
        "(?:红利|分红|分红款|派的钱|红利款)…{0,8}(?:什么时候|哪天|何时|几号|哪一天)…{0,3}(?:发|到|付|划|拿|派|收)",
        "(?:什么时候|哪天|何时|几号|哪一天)…{0,4}(?:发放|派发|发|收到|拿到|到账)…{0,2}(?:红利|分红)", "发放日", "(?:分|派)的?(?:钱|红|红利|息)…{0,4}(?:什么时候|何时|哪天|几号|多久)…{0,4}(?:到|发|给|收)",
        "(?:pay|payment|payout|paid)(?: ?out)?(?: date| day)",
        "(?:when|date) .{0,50}?(?:dividend|distribution)s?(?: be)? paid",
    )),
    "limit": Known("大额申购限额", "limit on large subscriptions", (
        "(?:大额|单日|每日|每天|一天|限购|日累计)…{0,14}(?:限额|上限|金额|最多|限制金额|多少钱|多少|不超过|封顶)", "(?:申购|限购|购买)(?:的)?(?:限额|上限|限制金额|金额上限)", "限额",
        "限购(?:金额|多少|额度)?", "(?:最多|至多)(?:能|可以|可)?(?:申购|买|购买|买入|投)…{0,4}",
        "(?:subscription|purchase|daily|buying)(?: subscription| purchase)? (?:limit|cap|ceiling)",
        "(?:cap|limit|ceiling) on", "at most",
    ), ranked=True),
    "suspend_date": Known("暂停大额申购起始日", "suspension from", (
        "(?:哪天|什么时候|何时|几号|哪一天|哪日)…{0,4}(?:起|开始)?(?:暂停|限制|停止|限购|停|不能)(?:大额)?(?:申购|买|购)?",
        "(?:暂停|限制|限购|停止)(?:大额)?(?:申购)?…{0,8}(?:起始|开始|始于|从哪|自哪|哪天|什么时候|何时|几号)(?:日)?", "暂停(?:大额)?申购(?:的)?(?:起始)?(?:日|日期|时间)",
        r"(?:suspend\w*|restrict\w*|halt\w*)(?: from| date| start)?",
    )),
    "resume_date": Known("恢复申购日", "subscriptions resume", (
        "恢复(?:大额)?(?:申购|购买|办理|买入|正常|日期|日){0,4}", "(?:限制|限购|暂停|大额|限额)…{0,10}(?:取消|解除|结束|放开|到什么时候)",
        "(?:重新|再次)(?:开放|放开|接受|打开)(?:申购)?", r"resum\w+", r"re-?open\w*", "(?:lift|lifted|end of the restriction)",
    )),
    "vote_from": Known("表决投票起始", "voting begins", (
        "(?:投票|表决|大会)…{0,8}(?:从|自)?(?:哪天|什么时候|何时|几号|哪一天|何日)?(?:开始|起始|起|启动)", "(?:开始|起始)(?:的)?(?:投票|表决)",
        "(?:哪天|何时|什么时候)(?:开始|起)(?:投票|表决)", r"(?:vot\w+|meeting).{0,30}?(?:start|begin|open)s?",
        r"(?:start|begin)\w* .{0,20}?vot\w+",
    )),
    "vote_until": Known("表决投票截止", "voting ends", (
        "(?:投票|表决|表决票|大会)…{0,10}(?:截止|截至|结束|最晚|最迟|到哪天|到什么时候|到何时|为止)(?:时间|日期|日)?", "(?:截止|最晚|最迟|结束)…{0,8}(?:投票|表决|交票)",
        r"(?:vot\w+|meeting|ballot).{0,30}?(?:end|close|until|deadline)s?",
        r"(?:deadline|last day) .{0,20}?(?:vot|ballot)\w*",
    )),
    "years": Known("证券从业年限", "years in the industry", (
        "(?:干|做)(?:了)?(?:这|本)?(?:一)?行(?:有|了)?(?:多少|几)年", "入行(?:多久|(?:多少|几)年)", "(?:证券)?从业(?:年限|经历|经验|年数|了)?(?:有)?(?:多少年|几年|多久|多长时间)?", "(?:多少年|几年)(?:的)?(?:证券)?(?:从业|经验|经历)",
        "years of (?:experience|service)", "(?:experience|worked).{0,30}?(?:years|industry|long)?",
        "how (?:long|many years|experienced)(?= .{0,40}?(?:experience|worked|industry|manager))",
    )),
    "close": Known("收盘点位", "close", (
        "收(?:盘|于|在|报)(?:点位|点数|价|多少|指数)?(?:多少)?(?:点)?", "点位", "收盘", "多少点", "几点(?=收)",
        "clos(?:e|ed|es|ing)(?: (?:level|value|price|at))?", "(?:level|points)",
    ), daily=True, ranked=True, day="date"),
    "change": Known("涨跌幅", "change", (
        "涨跌(?:幅|了)?(?:多少)?", "(?:涨|跌|上涨|下跌|升|降)(?:了)?(?:多少|几|幅)(?:个)?(?:点|百分点|%)?", "(?:涨幅|跌幅|变动|变化)",
        r"(?:daily |percentage )?(?:change|move|moved|gain|return)\b", "how much .{0,50}?(?:rise|fall|gain|lose|move)",
    ), daily=True, ranked=True, day="date"),
    "high": Known("最高点", "high", (
        "(?:盘中|日内|当日|当天)?最高(?:点|价|到|点位|见|触及|冲到)?(?:多少)?", "高点", r"(?:intraday |day'?s |daily )?\bhigh(?:est)?\b",
    ), daily=True, ranked=True, day="date"),
    "low": Known("最低点", "low", (
        "(?:盘中|日内|当日|当天)?最低(?:点|价|到|点位|见|触及|跌到|探至)(?:是)?(?:多少)?", "(?:盘中|日内|当日|当天)最低", "低点",
        r"(?:intraday |day'?s |daily )?\blow(?:est)?\b(?! minimum| risk)",
    ), daily=True, ranked=True, day="date"),
    "turnover": Known("成交额", "turnover", (
        "成交(?:额|量|金额|了)?(?:多少)?", "交易额", "turnover(?! rate)", "trading (?:volume|value)",
    ), daily=True, ranked=True, day="date"),
    "security_code": Known("证券代码", "security code", (
        "(?:证券|股票)代码", "stock code",
    )),
    "issuer": Known("公告主体", "issuer", (
        "公告主体", "发行人是谁",
    )),
    "report_date": Known("报告期", "report date", (
        "报告期(?:末)?", "report(?:ing)? (?:date|period)",
    )),
    "scale_date": Known("规模日期", "date of net assets", (
        "规模(?:的)?(?:日期|截止日|是哪天|截至)",
    )),
}  # fmt: skip

BEFORE = (
    "调整前|调整之前|变更前|变更之前|更改前|修改前|下调前|上调前|降之前|降费前|之前|原来的?|以前的?|前任|上一任|原任|原先的?|此前的?|离任|离职|卸任|旧的?|"
    "原(?=基金经理|管理费|托管费|风险|到账|起点)|"
    r"\b(?:previous|former|old|prior|before the (?:change|cut|adjustment)|used to|earlier|preceding|outgoing|departed|departing)\b"
)
"""The value before a change is asked for: field `old_…`."""

AFTER = (
    "谁(?:来|去)?接|接(?:任|手|班|替|棒)的(?:是|人)|(?:现在|如今|目前|眼下)(?:是|的|由|谁|多少|几)|现任|新任|新来|新的|调整后|变更后|下调后|上调后|改成|换成|变成|降到|升到|"
    r"\b(?:after the (?:change|cut|adjustment)|successor|replaced|took over|takes over|new|now|current(?:ly)?)\b"
)
"""What came after it is asked for, though what was before is named."""

CORRECTED = r"更正|订正|纠正|勘误|公布错|披露错|写错|有误|对的|正确的|\bcorrect(?:ed|ion)?\b|erratum|misstated"
"""The value of a correction is asked for."""

SPOKEN = (("啥", "什么"), ("咋", "怎么"), ("几多", "多少"), ("嘛", "吗"))
"""In speech the first, in the table the second, of the same length or not: dates and names are marked before."""

OLD = ("management_fee", "custody_fee", "manager", "risk_class", "settle_days", "minimum")
"""Fields of which announcements state the value before."""

UNSTATED = (
    "学历|毕业|学校|大学|年龄|年纪|多大岁数|几岁|性别|生日|籍贯|出生|婚|薪|工资|奖金|电话|热线|邮箱|邮件地址|网址|官网|网站|办公地址|注册地址|地址|联系方式|微信|公众号|董事长|总经理|法定代表人|"
    "法人|股东|创始人|龙头|注册资本|员工|重仓股?|持仓|前十大|十大|持股|仓位|换手率|夏普|波动率|标准差|最大回撤|回撤|阿尔法|贝塔|信息比率|收益率|年化|回报率?|排名|晨星|星级|获奖|奖项|金牛|"
    "持有人(?:户数|数量|结构|有多少)|多少(?:持有人|人持有|投资者)|机构(?:投资者)?占比|散户|总份额|份额总数|多少份|杠杆|久期|股息率|市盈率|市净率|市值|毛利率|税|审计|会计师|律师|募集|首发|"
    "上市|清盘|跟踪误差|转型|估值方法|投票结果|表决结果|打[几多]?折|折扣|优惠|[几多]少?[只支]|再投资|代销|支付宝|客户经理|任职(?!日|时)|履历|跳槽|曾任|比(?:去年|上年|上一?(?:季|期|月|年)|年初)|同比|环比|增加了|减少了|增长了|获批|罚款|处罚|诉讼|持债|行业配置|最高学位|持股比例|自购|跟投|盈利|利润|"
    "冷静期|巨额赎回|赎回上限|转换|转托管|定投|扣款|确认日|后端|下载|招募说明书|说明书|年报|半年报|季报|披露(?:日|时间)|持有人大会|召集|看到收益|几点更新|何时更新|什么时候更新|估值|保本|止损|预警|投资范围|投资策略|"
    "港股|评级机构|质押|抵押|联系方式|任职回报|总部|开户行?|佣金|印花税|分红方式|收益分配|分配原则|分配政策|业绩报酬|"
    "申购状态|暂停申购了?[吗么]|最低赎回|最低保留|保留份额|预约|司法|清算|终止|投诉|场内|客服|"
    r"\b(?:hong kong|collateral|complain\w*|dividend policy|born|birthday|portfolio turnover|strategy|prospectus|annual report|suspended now|switch\w* (?:in|out|into)|convert\w*|hotline|headquarter\w*)\b|"
    r"\b(?:sharpe|volatility|drawdown|alpha|beta|holdings?|top (?:ten|10)|turnover rate|phone|telephone|e-?mail|website|address|chairman|ceo|president|shareholders?|employees|age|university|education|degree|graduat\w*|salary|annuali[sz]ed|return|performance|ranking|ranked|morningstar|awards?|leverage|duration|dividend yield|p/e|tax|auditor|lawyer|holders|stocks? does|hold most|tracking error)\b"
)
"""Attributes that no template states. A sentence that answers must have the very word."""

ATTRIBUTES = (
    "信用评级|收益分配|分配(?:原则|政策)|(?:最高|最低)的?(?:单位|累计)?净值|(?:净值|规模)的?(?:增长率?|变化|走势|涨幅|增速)|"
    "(?:经理|管理人|公司|托管人|托管行|银行)(?:的|是)?(?:管理规模|资产规模|规模|成立|设立|创立|历史|简称|代码|评级|上市|在管)|"
    "为什么|为何|(?:在|从|去)?哪(?:里|儿)(?:可以|能)?(?:查|看|买|下载|办)|怎么(?:查|办|处理|操作)|收益怎么(?:算|计算)|多久(?:公布|更新|披露|发布)(?:一次)?|(?<!第)几次|按[日月季]付?|(?:申购|赎回|交易|调整|变更)记录|"
    "(?:规模|净值|费率)(?:的)?上限|同类|最大(?:跌幅|涨幅|回撤)|"
    r"\b(?:why|how often|how do i|where can|in total over)\b|\b(?:highest|lowest) nav\b|credit rating|who founded|(?:company|manager|custodian|bank) (?:founded|established|born)|when (?:was|were) the (?:manager|company|custodian|bank)"
)
"""What is asked of a field, or of somebody who is one: no template states it, though a field's phrase stands in it."""

FORECAST = (
    "会不会(?:继续|再|还|进一步|又)?(?:涨|跌|亏|赚|降|升)|(?:还)?会(?:继续)?(?:涨|跌|亏|赚|升|降|突破)|(?:还)?能(?:涨|赚|跌|挣|回本)|预测一下|后市|走势会|推荐|"
    "值得(?:买|投|持有|入手|购买)|该不该|要不要(?:买|卖|赎)|应该(?:买|卖|赎)|适合(?:我|投资|买|什么人)|该买|可以买吗|能买吗|好不好|靠谱吗|抄底|划算|合适吗|时机|明年|后年|明天|后天|下周|下个?月|下一?季度|"
    "未来|将来|保证(?:收益|赚)|保本吗|稳赚|"
    r"\b(?:forecast|predict\w*|recommend\w*|should i|good investment|worth buying|will .{0,60}? (?:rise|fall|go up|go down|gain|lose|be)|next (?:year|month|week|quarter)|tomorrow|guarantee\w*)\b"
)
"""Forecasts and advice: no document answers them."""

BESIDES = (
    "除(?:了|去|开)?[^,。?!;]{1,24}?(?:之外|以外|外|,)|(?:虽然|虽说|尽管|我?(?:已经|已)?知道)[^,。?!;]{1,30},|先?不(?:算|谈|说|问|管)[^,。?!;]{1,20}?(?:,|的话)|"
    "(?<!是)不是[^,。?!;]{1,16},|"
    r"\b(?:besides|apart from|aside from|other than|except(?: for)?|in addition to|leaving aside|not counting|not) [a-z' -]{1,40}(?:,|\bbut\b)"
)
"""A clause that names what is not asked for, where the rest of the question asks for something."""

COMPARE = (
    "比较|对比|相比|哪个|哪只|哪一只|哪一个|谁(?:的)?(?:更|高|低|大|小|便宜|贵)|更(?:高|低|大|小|便宜|贵)|分别|各(?:是|自)?|差异|区别|"
    r"\b(?:compare|versus|vs|which (?:one|fund|of)|both|each|lower|higher|cheaper|larger|smaller|difference)\b"
)
"""Two are asked about side by side."""

LOWER = (
    r"更?低|便宜|更?小|更?少|\b(?:lower|lowest|cheaper|less|smaller)\b"
)
"""Which of two is less."""

HIGHER = (
    r"更?高|更?贵|更?大|更?多|\b(?:higher|highest|more expensive|more|larger|bigger|greater)\b"
)
"""Which of two is more."""

ENTITY_KINDS = ("fund_name", "other_name", "short_name", "index_name", "issuer")
"""Fields that name what a document is about."""

ASKING = re.compile(
    "请问一下|请问|请告诉我|告诉我|我想知道|想知道|我想问|想问|帮我查一下|帮我查|帮忙|查一下|查询|看一下|看看|麻烦|分别是多少|各是多少|是多少|有多少|达到多少|为多少|多少|是什么时候|什么时候|什么时间|"
    "何时|哪一天|哪天|几号|几月|是什么|有什么|什么样的|什么|哪些|哪几|哪个|哪家|哪一|哪里|哪儿|哪|是谁|谁|怎么样|怎么|怎样|如何|为什么|为何|原因|是不是|有没有|能不能|是否|多大|多高|多长时间|多长|"
    "多久|几个|几家|几|吗|呢|吧|啊|呀|嘛|了|的|地|得|在|是|有|和|与|跟|及|或|其|这个|那个|这|那|该|它|我们|我|您|你|他|大约|大概|约|一共|总共|共|最新|目前|现在|当前|当日|当天|那天|"
    "情况|数据|公布|披露|显示|提到|说|据|关于|有关|根据|按照|按|对于|对|把|被|从|到|为|由|向|给|让|用|以|于|就|都|也|还|又|将|会|能|可以|要|想"
)
"""What asks and joins, and is no part of what is asked for."""

COMMON = re.compile(
    "打算|计划|准备|预备|花费|花|用|投资|投入|投|报道|报导|新闻|消息|公告|文章|研报|报告|研究报告|晨报|中|里|内|上|下|期间|之间|以来|以后|之后|之前|前后|变化|变动|幅度|大小|水平|程度|结果|"
    "具体|详细|准确|签的|签订|签|合计|额度|数额|数量|数字|数值|比率|比例|名单|内容|方面|部分|相关|所有|全部|各|每|进行|开展|完成|实现|发布|宣布|表示|认为|指出|称|介绍|发生|出现|存在|属于|"
    "成为|作为|得到|取得|获得|使用|采用|通过|需要|必须|应当|如果|因为|所以|但是|而且|以及|请|谢谢|你好|您好|问题|回答|答案|知道|了解|清楚|记得|听说|客户|投资者|用户|大家|人们|时|时候|时间|"
    "日子|天|年|月|日|号|元|钱|块|个|只|家|份|点|倍|次|笔|现有|已经|曾经|正在|仍然|依然|还是|或者|并且|同时|此外|另外|其中|其他|别的|之|所|者|与否|究竟|到底|具有|拥有|含有|包括|包含|"
    "涉及|有关的|的话"
)
"""Words of any text: that a sentence lacks them says nothing."""

SYNONYMS = (
    ("营收", "收入"), ("营业额", "收入"), ("营业收入", "收入"), ("订单", "在手订单"), ("厂房", "工厂"), ("工期", "建设期"), ("期限", "有效期"), ("收益", "回报"),
    ("名次", "排名"),
)  # fmt: skip
"""In a question the first, in documents perhaps the second."""

LISTS = re.compile(
    "(?:重仓|持仓|持有)(?:股|股票|的股票|债券)?(?:名单)?(?:是|都)?(?:有)?(?:哪些|什么|哪几|名称)|(?:stocks?|holdings?|bonds?) (?:does|do|are)|"
    "hold most|top (?:ten|10)|前十大(?:重仓股|股票|持仓)?(?:是|有|都)?(?:哪些|什么|哪)"
)
"""A list of what is held is asked for: no single sentence is one."""

FALLBACK: tuple[tuple[str, str], ...] = (
    ("(?:哪天|哪些天|几号|周几|星期几|哪个月|平时|随时|每天|天天|什么时候|何时|多久).{0,8}?(?:买|卖|申购|赎回|进出|交易|申赎)", "open_rule"),
    (r"风险|risk|几r|\br[1-5]\b", "risk_class"),
    (r"托管|银行|保管|看管|\bbank|custod", "custodian"),
    (r"到账|到帐|回款|t\s?\+|settle", "settle_days"),
    ("锁定|锁住|封闭|持有期|lock|holding", "holding_days"),
    ("开放|交易日|周几|星期几|dealing|open", "open_rule"),
    ("基准|指数|对标|index|benchmark", "benchmark"),
    ("起点|起购|起投|门槛|最低|最少|至少|起步|minimum|least|smallest|threshold", "minimum"),
    (r"规模|盘子|多少亿|assets|\bsize|\bbig", "scale"),
    (r"成立|年头|几年|哪年|哪一年|多少年|资历|since|establish|\bold\b", "inception"),
    ("销售服务|渠道|c类|distribution|sales", "sales_fee"),
    ("赎回|卖出|卖掉|退出|赎|redeem|redemption|exit", "redemption_fee"),
    ("申购|买入|买进|进场|认购|buy|purchase|subscri", "purchase_fee"),
    (
        (
            r"管理费|费率|费用|收费|几个点|charge|\bfees?\b|cost|"
            "(?:manager|company|firm|house).{0,20}?(?:take|cut|keep|collect|percent|deduct|skim|paid)|"
            "(?:每年|一年|年年|每一年).{0,16}?(?:扣|收|付|交|抽|拿|割|刮|花|给).{0,8}?(?:多少|几|百分|比例)|(?:a|per|each|every) year"
        ),
        "management_fee",
    ),
    (r"经理|谁|掌舵|操盘|操刀|主理|manage|\bwho\b", "manager"),
    ("公司|机构|哪家|company|firm|issuer", "management_company"),
    (r"净值|价格|多少钱|\bnav\b|price|worth", "nav"),
    ("类型|哪类|哪种|type|kind", "fund_type"),
    (r"什么时候|何时|哪天|哪一天|年份|日期|\bwhen\b|\bdate\b", "inception"),
)  # fmt: skip
"""Single words, where a question about one product has no phrase and hardly anything else: the first that is found decides."""

FEES: tuple[tuple[str, str], ...] = (
    (
        "redemption_fee",
        (
            "卖|赎|退出|退掉|退场|离场|走人|出来|撤|提前|不满|不足|不到|未满|一周|星期|没几天|刚买|短线|快进快出|反悔|后悔|短期|sell|sold|redeem|exit|leav|"
            "get(?:ting)? out|out of|within"
        ),
    ),
    ("custody_fee", "银行|托管|保管|看管|看护|存管|存放|受托|bank|custod|safe|deposit|trustee"),
    ("sales_fee", "销售|渠道|代销|网点|c类|c份额|distribution|sales|servic"),
    ("purchase_fee", "买|申购|进场|入手|上车|购|buy|enter|entry|get(?:ting)? in|front|subscri|purchas"),
)  # fmt: skip
"""Which fee is meant where none is named: the first whose words the question has."""

YEARLY = r"每一?年|年年|一年下来|年化|年费|每年度|(?:per|a|each|every) year|annual|yearly|p\.a\."
ONCE = ("redemption_fee", "purchase_fee")
"""What is paid year by year is no fee of those that are paid once."""

NAMED_FEES: tuple[tuple[str, str], ...] = (
    ("management_fee", r"管理费|管理(?:人|公司)?的?(?:报酬|费用|收费)|management(?: \w+)? (?:fee|charge)"),
    ("custody_fee", r"托管费|托管(?:人|行)?的?(?:报酬|费用|收费)|(?:custody|custodian)(?:'s)?(?: \w+)? (?:fee|charge)"),
    ("sales_fee", r"销售费|服务费|(?:sales|service|distribution)(?: \w+)? (?:fee|charge|load)"),
    ("redemption_fee", r"赎回的?(?:费|手续费|佣金)|(?:redemption|exit)(?: \w+)? (?:fee|charge|load)"),
    ("purchase_fee", r"申购的?(?:费|手续费|佣金)|(?:entry|purchase|front[- ]end)(?: \w+)? (?:fee|charge|load)"),
    ("subscription_fee", "认购的?(?:费|手续费|佣金)|subscription (?:fee|charge)"),
)  # fmt: skip
"""A fee by its name."""

PLAIN_PARTS = (
    "产品|基金|服务|佣金|手续费?|报酬|钱|人|姓名|名字|名称|全名|全称|标准|比例|数值|数字|水平|情况|高低|大小|多少|具体|收取|收费|百分比|年费率|费率|费用|金额|日期|时间|日子|银行|公司|机构|"
    "等级|级别|代码|编号|档次|人选|安排|规定|是|有|最新|目前|现在"
)
"""What may follow a field and 的 without asking for something else of it."""
