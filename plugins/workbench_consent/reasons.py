"""What each reason code means, for staff, in Chinese and English. docs/consent.md section 2 is checked against it."""

from __future__ import annotations

from workbench_consent.grants import Reason

SENTENCES: dict[Reason, tuple[str, str]] = {
    Reason.OK: ("可用：此刻有覆盖该用途和接收方的授权", "may be used: a grant covers this purpose and recipient now"),
    Reason.AMBIGUOUS_KEY: (
        "标识由多位客户共用，且不是每一位都有确属本人的有效授权",
        "several customers share the key and not each of them has a live grant that is surely theirs",
    ),
    Reason.GUARDIAN: (
        "签署时不满十四周岁，没有监护人同意",
        "the customer was under 14 when the grant began and no guardian consented",
    ),
    Reason.STALE: (
        "告知书其后有实质变更，该授权不及于新的范围，需重新征求同意",
        "the notice changed materially since; the grant does not cover the new scope and new consent is needed",
    ),
    Reason.CATEGORY_MISMATCH: (
        "授权不包括所需的个人信息种类",
        "the grant does not name the personal information that is needed",
    ),
    Reason.CHANNEL_MISMATCH: ("授权不包括该联系渠道", "the grant does not name this channel of contact"),
    Reason.USED_UP: ("授权的使用次数已用完", "the grant has been used as often as it allows"),
    Reason.WITHDRAWN: ("客户已撤回该授权", "the customer withdrew this grant"),
    Reason.NOT_YET_VALID: ("授权尚未生效", "the grant has not begun"),
    Reason.EXPIRED: ("授权已到期", "the grant has ended"),
    Reason.RECIPIENT_MISMATCH: ("同意了该用途，但不是给这个接收方", "consent for this purpose names another recipient"),
    Reason.PURPOSE_MISMATCH: ("同意给这个接收方，但不是该用途", "consent for this recipient names another purpose"),
    Reason.NO_GRANT: ("没有相关授权", "no grant concerns this purpose or recipient"),
    Reason.PROFILING_REFUSED: (
        "客户拒绝针对个人特征的自动化营销",
        "the customer refused automated marketing by personal traits",
    ),
    Reason.CHANNEL_REFUSED: ("客户拒绝以该渠道联系", "the customer refused to be contacted this way"),
    Reason.SUPPRESSED: ("客户已退出，不再使用", "the customer has left and is kept out"),
    Reason.DUPLICATE_KEY: (
        "同一标识已由另一客户号代表，只计一次",
        "another customer number already stands for this key, which counts once",
    ),
    Reason.RESTRICTED: (
        "客户行使限制处理的权利，办结前不使用",
        "the customer restricts processing and is not used while that lasts",
    ),
    Reason.MISSING_KEY: ("没有所比对的标识", "the customer has no value for the identifier compared"),
}

_FITS = ("1", "逐条授权比较，最有利的一条说明结论", "the grants of the customer are compared; the best one speaks")
RULES: dict[Reason, tuple[str, str, str]] = {
    Reason.OK: _FITS,
    Reason.AMBIGUOUS_KEY: (
        "2, 5", "凭共用标识不能确定是本人签署，或同一标识的人并非都有授权",
        "by a shared key nobody can tell who signed, or not everybody who has the key agreed",
    ),
    Reason.GUARDIAN: ("6", "不满十四周岁须监护人同意（PIPL 31）", "under 14 a guardian consents (PIPL 31)"),
    Reason.STALE: ("7", "告知书有实质变更的，旧授权不及于新范围（PIPL 14、23）", "what changed materially needs new consent (PIPL 14, 23)"),
    Reason.CATEGORY_MISMATCH: ("7", "授权限于写明的信息种类（PIPL 23）", "a grant covers the categories it names (PIPL 23)"),
    Reason.CHANNEL_MISMATCH: ("7", "授权限于写明的联系渠道", "a grant covers the channels it names"),
    Reason.USED_UP: ("8", "授权限定了使用次数", "the grant limits its uses"),
    Reason.WITHDRAWN: ("3", "撤回立即生效，被撤回的授权不再恢复（PIPL 15）", "withdrawal is effective at once and for good (PIPL 15)"),
    Reason.NOT_YET_VALID: _FITS,
    Reason.EXPIRED: _FITS,
    Reason.RECIPIENT_MISMATCH: ("1", "授权只对写明的接收方有效（PIPL 23）", "a grant holds towards the recipient it names (PIPL 23)"),
    Reason.PURPOSE_MISMATCH: ("1", "授权只对写明的目的有效（PIPL 14）", "a grant holds for the purpose it names (PIPL 14)"),
    Reason.NO_GRANT: ("1", "没有授权即不使用", "without a grant nobody is used"),
    Reason.PROFILING_REFUSED: ("9", "可拒绝针对个人特征的自动化营销（PIPL 24）", "anybody can refuse automated marketing by personal traits (PIPL 24)"),
    Reason.CHANNEL_REFUSED: ("9", "可拒绝任一联系渠道", "anybody can refuse any channel of contact"),
    Reason.SUPPRESSED: ("4", "退出的客户不再使用，重新导入也不使用", "who left is kept out, also when imported again"),
    Reason.RESTRICTED: ("10", "限制处理期间不使用（PIPL 44）", "while processing is restricted nobody is used (PIPL 44)"),
    Reason.DUPLICATE_KEY: ("5", "共用标识只计一次", "a shared key counts once"),
    Reason.MISSING_KEY: ("1", "没有所比对的标识就无从比对", "without the identifier there is nothing to compare"),
}  # fmt: skip
"""Which rule of docs/consent.md section 5 decides, and what it says."""
