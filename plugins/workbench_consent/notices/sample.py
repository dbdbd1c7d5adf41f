"""The notice that comes with the program, for the demonstration: three institutions, both languages, nothing preset.

A text to start from, written for synthetic data: a person with legal training has to read what is really used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

KEY = "joint-service"
_PURPOSES: Mapping[str, tuple[str, str]] = {
    "wealth-marketing": ("向您介绍与您风险承受能力相匹配的财富管理服务", "to tell you about wealth management services that suit your risk level"),
    "investor-education": ("邀请您参加投资者教育活动", "to invite you to investor education"),
}
_EMPTY = {"zh": "", "en": ""}


def content(party: str, names: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """What a draft of this notice holds. names: party -> names in zh and en, this institution included."""
    own_zh, own_en = names[party]
    others = sorted(one for one in names if one != party)
    return {
        "title": {"zh": "个人信息处理告知同意书（联合服务）", "en": "Notice and consent: joint service"},
        "summary": {
            "zh": f"{own_zh}希望在您同意后，与下列机构核对彼此都服务的客户，仅用于所列目的。只比对加密后的手机号或身份证号，对方不会得到不是其客户的人的信息。每一项单独选择，默认不同意；不同意不影响任何其他服务，可随时撤回。",
            "en": f"With your consent, {own_en} finds out with the institutions below which customers both serve, for the purposes below only. "
            "Phone or identity numbers are compared encrypted; nobody learns of people they do not know. Each choice is yours, off at first; a no changes nothing else; you can withdraw at any time.",
        },
        "body": {
            "zh": f"一、{own_zh}依据《中华人民共和国个人信息保护法》就下列处理向您告知并征求单独同意。\n二、处理的内容、目的、方式、种类、期限和接收方见各项详细内容。\n"
            "三、比对在各机构内部进行，只交换加密后的点；双方得到共同且均已同意的客户名单，名单以外的信息不被对方得知。\n四、接收方只能在您同意的目的、方式和种类之内处理；变更须重新征得您的同意。\n"
            "五、本文本为演示样例，数据为合成数据。",
            "en": f"1. {own_en} tells you of the following processing and asks for your separate consent (PIPL).\n2. What, why, how, which information, how long and to whom stands in the details of each choice.\n"
            "3. The comparison takes place inside each institution; only encrypted points are exchanged. Both learn which customers they have in common and may use, and nothing about anybody else.\n"
            "4. A recipient may process only what you agreed to; a change needs your consent again.\n5. This text is a sample for a demonstration with synthetic data.",
        },
        "controller": {
            "party": party,
            "name": {"zh": own_zh, "en": own_en},
            "contact": f"privacy@{party}.example",
            "officer": f"dpo@{party}.example",
        },
        "rights": {
            "zh": "您可通过上述联系方式或本机构网点查阅、复制、转移、更正、删除个人信息，限制或拒绝处理，并要求解释。我们在 15 个工作日内答复。",
            "en": "Through the contacts above or at a branch you can see, copy, move, correct and delete your personal information, restrict or refuse its processing, and ask for an explanation. We answer within 15 working days.",
        },
        "withdrawal": {
            "zh": "可随时逐项或全部撤回：应用内“我的授权”、客服电话或网点，与同意一样方便，立即生效；撤回前已完成的处理仍然有效。",
            "en": "Withdraw one choice or all at any time: in the app under My consents, by phone or at a branch, as easily as you agreed and at once. What was done before stays valid.",
        },
        "refusal": {
            "zh": "不同意任何一项，都不影响您使用本机构的其他服务；我们在 180 天内不再就同一事项询问您。",
            "en": "Whatever you refuse, all other services stay as they are, and for 180 days we do not ask about it again.",
        },
        "complaint": {
            "zh": f"电话、邮寄、网点或 complaint@{party}.example；也可向履行个人信息保护职责的部门投诉。",
            "en": f"By phone, post, at a branch or complaint@{party}.example; or with the authority for personal information.",
        },
        "minors": {"served": False, "rules": _EMPTY},
        "lines": [_line(purpose, other, names[other]) for other in others for purpose in _PURPOSES],
    }


def _line(purpose: str, recipient: str, name: Sequence[str]) -> dict[str, Any]:
    zh, en = _PURPOSES[purpose]
    is_marketing = purpose == "wealth-marketing"
    return {
        "purpose": purpose,
        "recipient": recipient,
        "recipient_name": {"zh": name[0], "en": name[1]},
        "recipient_contact": f"privacy@{recipient}.example",
        "purpose_text": {"zh": zh, "en": en},
        "method": {
            "zh": "隐私求交：比对加密后的标识，得到双方共同且均已同意的客户名单；以所选渠道联系，可回复退订",
            "en": "private set intersection: encrypted identifiers are compared, both learn the common customers who agreed; contact by the channels named, reply to unsubscribe",
        },
        "categories": ["customer-relation", "id-no", "phone"],
        "channels": ["call", "push", "sms"] if is_marketing else ["push", "sms"],
        "retention_days": 365,
        "retention": {"zh": "名单自放行起保存一年，撤回或到期后删除", "en": "the list is kept for one year from its release and deleted on withdrawal or expiry"},
        "necessity": {
            "zh": "不比对手机号或身份证号，就无法判断您是否同时是双方客户",
            "en": "without comparing phone or identity number nobody can tell whether you are a customer of both",
        },
        "effect": {
            "zh": "接收方会得知您是本机构客户；不会得知账户、资产等其他信息",
            "en": "the recipient learns that you are our customer; it learns nothing of accounts, assets or else",
        },
        "automated": is_marketing,
        "automated_text": {
            "zh": "按风险等级和标签规则选出名单，不据此给予不同价格；您可拒绝针对个人特征的选择，或回复 TD 退订",
            "en": "lists are chosen by rules on risk level and tags, never for different prices; you can refuse being chosen by personal traits, or reply TD to unsubscribe",
        }
        if is_marketing
        else _EMPTY,
        "preset": False,
        "required": False,
    }
