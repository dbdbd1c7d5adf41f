"""Words beside a number that say what it is. Pure; looks at a window of fixed size only.

The nearest word decides: in `订单留的手机号 138…` it is the phone number, in `手机上的订单号 138…` the order number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from workbench_inference.policy.redaction.folding import Meter

WINDOW: Final = 18
"""Characters before a number in which a word about it is looked for."""

_WORDS: Final[dict[str, str]] = {
    "phone": (
        "手机 手机号 手机号码 电话 电话号 电话号码 联系电话 联系方式 联系号码 移动电话 座机 固话 固定电话 家电 宅电 传真 号码 新号 新号码 旧号 预留号码 本机 来电 去电 回电 致电"
        " 拨打 拨 打 短信 微信 微信号 主叫 被叫 电联 联系人 联系 tel telephone phone mobile cell cellphone fax call dial wechat whatsapp vx wx ph mob sms text"
    ),
    "id": (
        "身份证 身份证号 身份证号码 身份证件号 身份证件号码 证件 证件号 证件号码 公民身份号码 公民身份证号码 身份号码 身份证明 二代证 一代证 老身份证 旧身份证 id id号"
        " 身份 证号 idno idcard identity"
    ),
    "card": (
        "银行卡 银行卡号 卡号 储蓄卡 储蓄卡号 借记卡 借记卡号 信用卡 信用卡号 工资卡 工资卡号 三方存管卡 存管卡 存管银行卡 绑定的卡 绑的卡 工行卡 农行卡 建行卡 中行卡 交行卡 招行卡"
        " 浦发卡 民生卡 兴业卡 中信卡 光大卡 平安卡 邮储卡 工行 农行 建行 中行 交行 招行 邮储 浦发 扣款卡 收款卡 还款卡 尾卡 这张卡 那张卡 新卡 旧卡 主卡 副卡 结算卡 一类卡 卡"
        " card cardno bankcard debitcard creditcard"
    ),
    "account": (
        "账号 帐号 账户 帐户 账户号 帐户号 账户号码 账号号码 资金账号 资金帐号 资金账户 资金帐户 资金号 资金户 证券账号 证券帐号 证券账户 证券帐户 股东账号 股东帐号 股东账户 股东帐户 股东代码 股东卡 股东卡号"
        " 股东号 客户号 客户编号 客户代码 客户编码 客户账号 基金账号 基金帐号 基金账户 信用账号 信用账户 信用资金账号 融资账号 两融账号 两融账户 期权账号 期权账户 衍生品账户 银行账号 银行帐号 银行账户 收款账号"
        " 收款账户 付款账号 付款账户 汇款账号 对公账号 对公账户 基本户 一般户 结算账户 结算账号 结算户 存管账号 存管账户 交易账号 交易账户 托管账号 托管账户 登录账号 登录名 开户账号 户号 户头 沪a账号 深a账号 沪a 深a 沪市 深市 一码通"
        " 一码通账号 一码通账户 一码通号 一码通号码 理财账号 理财账户 存折 存折账号 存单账号 account accountno accountnumber acct acctno acc a/c iban"
    ),
    "other": (
        "订单 订单号 订单编号 订单号码 订单流水 单号 单据 单据号 流水 流水号 流水编号 编号 编码 合同号 合同编号 协议号 协议编号 批号 批次 批次号 交易号 交易编号 交易流水 交易流水号 成交编号 成交号 委托 委托号 委托编号 工单 工单号"
        " 工单编号 凭证 凭证号 发票 发票号 发票号码 发票代码 快递 快递单 快递单号 快递号 运单 运单号 物流单号 票号 序列号 序号 设备号 设备编号 imei sn 条码 条形码 产品代码 产品编号 产品编码 基金代码 基金编号 基金 股票代码 股票"
        " 证券代码 转债代码 债券代码 代码 备案号 备案编码 备案编号 登记编号 登记号 登记编码 许可证 许可证号 许可证编号 证书号 证书编号 执业编号 从业编号 资格证号 文号 公告编号 公告号 统一社会信用代码 信用代码 社会信用代码 税号"
        " 纳税人识别号 识别号 组织机构代码 注册号 isbn issn order orderno orderid ref reference refno no. invoice ticket case version build 版本 版本号 时间戳 timestamp 参考号 任务号 任务编号"
        " 请求号 请求编号 requestid traceid 业务单号 业务编号 业务流水 业务流水号 申请编号 申请号 申请单号 受理编号 受理号 投诉编号 回执 回执号 回单号 保单 保单号 会话 会话号 日志 日志号 端口 报文 报文号 清算号 席位号 席位 交易单元 唯一标识 标识"
        " 摘要 哈希 校验码 验证码 密码 口令 邮编 邮政编码 金额 市值 规模 余额 净值 总额 成交额 成交量 持仓 份额 本金 收益 市价 现价 指数 库存 产品 型号 qq qq号 群号 会员号 会员卡 会员卡号 门禁卡 门禁卡号 加油卡 加油卡号 购物卡 积分 礼品卡 礼品卡号"
        " 工号 员工号 员工编号 tracking serial code fundcode batch sku hash token uuid transaction txn txid amount contract 事件号 事件编号 告警 告警号 告警编号 案号 案件编号 档案号 档案编号 卷号 标的 存货 合约 合约代码 指令 指令号 指令编号 任务 项目编号 项目号"
        " 机器编号 资产编号 服务器 主机 记录号 记录编号 记录 期号 产品号 凭单 凭单号 转账流水 银行流水号 流水单号 交易参考号 授权码 授权号 追踪号 跟踪号 物料号"
    ),
    "public": "客服 客服电话 客服热线 服务热线 热线 热线电话 咨询热线 咨询电话 服务电话 投诉电话 投诉热线 总机 公司总机 hotline 举报电话 监督电话 全国统一客服热线 客户服务热线 客户服务电话",
}  # fmt: skip
CUES: Final[dict[str, str]] = {word: kind for kind, words in _WORDS.items() for word in words.split()}
_LONGEST: Final = max(map(len, CUES))
_ENDS: Final = frozenset(word[-1] for word in CUES)

_BREAK: Final = frozenset("。！？!?；;\n")
_FILLING: Final = frozenset(" \t\r:：=＝-—–~(（[【{<《「『\"'“”‘’`#*,，、.·>是为叫填写成的了又就也我他她您你它个那这有用到给在留记报说念改换尾")
"""Characters that may stand between a word and its number without a change of subject."""
_FILLERS: Final = ("号码", "号", "码", "no", "number", "num", "is", "was", "分别", "应该", "可能", "好像", "目前", "现在", "以前", "之前", "登记", "预留", "更新", "变更", "如下", "本人", "客户", "名下", "后面", "直接", "麻烦", "请", "以", "at", "me", "on", "to", "him", "her")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cue:
    """kind: of CUES, "" for none; is_near: nothing but filling stands between the word and the number."""

    kind: str
    is_near: bool


NONE: Final = Cue("", is_near=False)


def before(lower: str, start: int, meter: Meter) -> Cue:
    """The nearest word before `start`, not across the end of a sentence or another number."""
    least = max(0, start - WINDOW)
    for end in range(start, least, -1):
        meter.count += 1
        last = lower[end - 1]
        if last in _ENDS:
            found = _word_ending(lower, end, meter)
            if found:
                return Cue(CUES[found], is_near=_is_filling(lower[end:start], meter))
        if last in _BREAK or ("0" <= last <= "9" and end < start):
            return NONE
    return NONE


def after(lower: str, end: int, meter: Meter) -> str:
    """Kind of a word right behind a number, as in `138…（手机）` or `…这个资金账号`, "" for none."""
    place = end
    while place < min(len(lower), end + 4) and lower[place] in " (（,，是这那个的为":
        place += 1
        meter.count += 1
    for size in range(min(_LONGEST, len(lower) - place), 1, -1):
        meter.count += 1
        kind = CUES.get(lower[place : place + size], "")
        if kind:
            return kind
    return ""


def _word_ending(lower: str, end: int, meter: Meter) -> str:
    for size in range(min(_LONGEST, end), 0, -1):
        meter.count += 1
        word = lower[end - size : end]
        if word in CUES and not (word[0].isascii() and word[0].isalpha() and end > size and lower[end - size - 1].isascii() and lower[end - size - 1].isalpha()):
            return word
    # Words of two parts are written apart: "card no", "account number".
    return ""


def _is_filling(gap: str, meter: Meter) -> bool:
    """Whether nothing but filling words and characters stands in a gap (of WINDOW characters at most)."""
    place = 0
    while place < len(gap):
        meter.count += 1
        for word in _FILLERS:
            if gap.startswith(word, place):
                place += len(word)
                break
        else:
            if gap[place] not in _FILLING:
                return False
            place += 1
    return True


__all__ = ["CUES", "NONE", "WINDOW", "Cue", "after", "before"]
