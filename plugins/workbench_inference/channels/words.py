"""What a customer reads where a question is refused or has no answer: plain, without a word of roles, leases or sandboxes. Pure.

The code stays the one of the refusal, so that the app's back end and the institution's people speak of the same thing.
"""

from __future__ import annotations

from typing import Final

from workbench.errors import WorkbenchError

_LATER: Final = ("现在没有人工智能回答的服务，请过一会儿再试，或联系您的客户经理", "No answers by AI are available just now. Try again in a while, or ask your adviser")
_NOT_SHOWN: Final = ("这次的回答没有通过检查，因此不展示。可以换一种问法，或联系您的客户经理", "This answer did not pass our checks and is not shown. Ask in other words, or ask your adviser")
WORDS: Final[dict[str, tuple[str, str]]] = {
    "STAGE_NOT_OPEN": ("这项试点还没有向客户开放", "This trial is not open to customers yet"),
    "NOT_INVITED": ("这项试点目前只对受邀客户开放，您还不在名单上。想参加请联系您的客户经理", "This trial is for invited customers only, and you are not among them yet. Ask your adviser if you would like to take part"),
    "COHORT_FULL": ("这项试点的名额已满，暂时不能加入", "All places of this trial are taken; nobody can join for now"),
    "NOT_A_CUSTOMER": ("没有查到您的客户资料，请联系您的客户经理", "We found no record of you as a customer. Ask your adviser"),
    "CUSTOMER_SUSPENDED": (
        "您已要求暂停处理您的信息，因此这项服务也暂停。想恢复时请联系我们", "You asked us to stop using your data, so this service is stopped too. Tell us if you want it back",
    ),
    "CLIENT_CLASS_MISSING": ("您的风险测评没有结果或已失效，请先完成风险测评", "There is no valid result of your risk assessment. Complete it first"),
    "SCENARIO_NOT_FOR_CLIENTS": ("这一类问题不在客户服务的范围内", "Questions of this kind are not part of the service for customers"),
    "ABOVE_CLASS": ("涉及的产品风险高于您的风险承受能力等级，不能向您展示。可以问风险等级与您相符的产品", "A product in it carries more risk than your risk class allows, so it is not shown. Ask about products that fit your class"),
    "QUOTA_SPENT": ("您本月的提问次数已用完，下月一日重新计数", "Your questions of this month are used up; they count anew on the first of next month"),
    "CHANNEL_RATE": ("现在使用的人太多，请稍等一分钟再试", "Too many people are asking just now. Try again in a minute"),
    "ASKS_WAIT": ("现在使用的人太多，请稍等一会儿再试", "Too many people are asking just now. Try again in a while"),
    "CLASS_TOO_HIGH": ("问题里似乎有个人信息，没有发送。请去掉姓名、证件、账号等再问", "Your question seems to hold personal data and was not sent. Ask without names, numbers of documents or accounts"),
    "STOPPED": ("已停止", "Stopped"),
    **dict.fromkeys(("ANSWER_LEAK", "CITATION_DIFFERS", "ANSWER_UNGROUNDED"), _NOT_SHOWN),
}  # fmt: skip
AS_WRITTEN: Final = frozenset({"CONTENT_RULE", "QUESTION_LENGTH", "INVALID_REQUEST", "NO_ASK", "ASK_UNDER_WAY"})
"""Codes whose own sentences speak to whoever asks: a rule of content says what may be asked instead."""
_KEPT: Final = frozenset({"retry_after_s", "rule"})


def for_customer(code: str, zh: str, en: str) -> tuple[str, str]:
    """(zh, en) for a customer; zh, en: the refusal's own."""
    return (zh, en) if code in AS_WRITTEN else WORDS.get(code, _LATER)


def told(error: WorkbenchError) -> WorkbenchError:
    """The same refusal in words for a customer, without details of this institution."""
    is_ours = error.code == "QUOTA_SPENT" and error.details.get("of") == "group"  # not the customer's questions are used up
    zh, en = _LATER if is_ours else for_customer(error.code, error.zh, error.en)
    details = {name: value for name, value in error.details.items() if name in _KEPT}
    return type(error)(zh, en, code=error.code, details=details)


__all__ = ["AS_WRITTEN", "WORDS", "for_customer", "told"]
