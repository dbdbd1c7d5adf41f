"""Identifiers of customers: mainland phone numbers and resident identity numbers, one spelling each.

The functions here are the *scalar reference*: short, one value at a time, the meaning of every rule. Lists of
millions go through `workbench.intake.normalise`, which is vectorised and tested to agree with this module on every
input. Document: docs/intake.md. A phone number is 11 ASCII digits starting with 1; an identity number is the 18
characters of GB 11643-1999 with an upper-case X. Carrier prefixes and administrative areas are deliberately not
checked: synthetic people use prefixes and areas that are not in use (decision 30), and real ones change.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Final, NewType

from workbench.domain.intersection import KeyKind
from workbench.errors import InvalidRequest

PhoneNumber = NewType("PhoneNumber", str)
IdNumber = NewType("IdNumber", str)

KEY_KINDS: Final = tuple(KeyKind)
KEY_KIND_NAMES: Final[dict[KeyKind, tuple[str, str]]] = {
    KeyKind.PHONE: ("手机号", "phone number"),
    KeyKind.ID_NO: ("身份证号", "identity number"),
}
RISK_LEVELS: Final = ("C1", "C2", "C3", "C4", "C5")

# Invisible characters that phone books and spreadsheets paste along with a number: zero-width space, joiners and
# word joiner, byte-order mark, soft hyphen, and the marks of writing direction.
INVISIBLE: Final = (
    "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
# Blanks are listed rather than taken from \s, because Python and Rust disagree about what \s covers.
BLANKS: Final = (
    " \t\r\n\v\f\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
TRIMMED: Final = BLANKS + INVISIBLE
DASHES: Final = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
SEPARATORS: Final = TRIMMED + DASHES + "()"
APOSTROPHES: Final = "'`\u2018\u2019"
# What people type where they have no value.
EMPTY_WORDS: Final = frozenset(
    {"-", "--", "\u2014", "\u2014\u2014", "/", "无", "空", "null", "none", "nan", "n/a", "na"}
)

# Full-width forms of the printable ASCII characters (U+FF01 to U+FF5E) and the ideographic space. Unicode's NFKC is
# not used: it would also turn ① and ² into digits.
FULL_WIDTH: Final[dict[str, str]] = {chr(code + 0xFEE0): chr(code) for code in range(0x21, 0x7F)} | {"\u3000": " "}

SCIENTIFIC: Final = r"[+-]?[0-9]+(?:\.[0-9]*)?[eE][+-]?[0-9]+"
SCIENTIFIC_SHOWN: Final = r"[0-9](?:\.[0-9]+)?[eE]\+[0-9]+"
DECIMAL: Final = r"[0-9]+\.0*"
CALENDAR_DATE: Final = r"[0-9]{4}(?:[-/.][0-9]{1,2}[-/.][0-9]{1,2}|年[0-9]{1,2}月[0-9]{1,2}日?)(?:[ T][0-9:.]*)?"
PHONE: Final = r"1[0-9]{10}"
IDENTIFIER_SHAPE: Final = r"(?:(?:\+|00)?86[ -]?)?1[0-9]{2}[ -]?[0-9]{4}[ -]?[0-9]{4}|[0-9]{17}[0-9Xx]"
PHONE_PREFIXED: Final = r"(?:\+86|0086|86)(1[0-9]{10})"
FOREIGN: Final = r"(?:\+|00)[0-9]+"
RISK: Final = r"[Cc]([1-5])(?:[^0-9A-Za-z](?s:.*))?"

ID_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
ID_CHECK_CHARACTERS: Final = "10X98765432"
FIRST_BIRTH_YEAR: Final = 1900
CUSTOMER_ID_LENGTH: Final = 64

FAULTS: Final[dict[str, tuple[str, str]]] = {
    "FORMULA": ("单元格是公式文本，请先粘贴为值", "the cell is the text of a formula: paste it as a value first"),
    "SCIENTIFIC": (
        "被表格软件改成了科学计数法，原值已丢失，请把该列设为文本后重新导出",
        "a spreadsheet turned it into scientific notation and the value is lost: set the column to text, export again",
    ),
    "DECIMAL_POINT": (
        "被当作小数保存（结尾为 .0），请把该列设为文本后重新导出",
        "it was saved as a decimal number (ends in .0): set the column to text, export again",
    ),
    "CALENDAR_DATE": ("单元格是日期，不是号码", "the cell is a date, not a number"),
    "PHONE_NOT_MAINLAND": ("不是中国内地号码（国家代码不是 86）", "not a mainland number (the country code is not 86)"),
    "PHONE_CHARACTERS": ("手机号含有数字以外的字符", "the phone number has characters that are not digits"),
    "PHONE_LENGTH": ("手机号不是 11 位", "the phone number does not have 11 digits"),
    "PHONE_NOT_MOBILE": ("不是手机号（不以 1 开头）", "not a mobile number (does not start with 1)"),
    "ID_CHARACTERS": (
        "身份证号含有数字和末位 X 以外的字符",
        "the identity number has characters other than digits and a last X",
    ),
    "ID_LENGTH": (
        "身份证号不是 18 位（或旧的 15 位）",
        "the identity number does not have 18 characters (or the former 15)",
    ),
    "ID_DIGITS_LOST": (
        "身份证号末三位被表格软件改成了 000，原值已丢失，请把该列设为文本后重新导出",
        "a spreadsheet replaced the last three digits by 000 and they are lost: set the column to text, export again",
    ),
    "ID_AREA": ("身份证号前六位全为 0", "the first six digits of the identity number are all 0"),
    "ID_DATE": (
        "身份证号中的出生日期不存在或在未来",
        "the date of birth in the identity number does not exist or lies ahead",
    ),
    "ID_CHECKSUM": ("身份证号校验位不符", "the check character of the identity number does not fit"),
    "RISK_LEVEL": ("风险等级不是 C1 至 C5", "the risk level is not one of C1 to C5"),
    "CUSTOMER_ID_MISSING": ("没有客户号", "there is no customer number"),
    "CUSTOMER_ID_LENGTH": ("客户号超过 64 个字符", "the customer number is longer than 64 characters"),
    "CUSTOMER_ID_CHARACTERS": ("客户号含有不可见字符", "the customer number has invisible characters"),
}
"""Why one value is refused: code to a sentence in Chinese and English. Codes are stable; docs/intake.md lists them."""

_FOLD = str.maketrans(FULL_WIDTH)
_DROP_SEPARATORS = str.maketrans("", "", SEPARATORS)
_UNFIT_CUSTOMER_ID = re.compile(f"[\x00-\x1f\x7f{INVISIBLE}]")


@dataclass(frozen=True, slots=True)
class Cleaned:
    """One value after normalisation: the value, or a fault (a code of FAULTS), or neither when the cell is empty."""

    value: str | None = None
    fault: str | None = None


def trim_cell(text: str) -> str:
    """`text` without blanks and invisible characters at both ends."""
    return text.strip(TRIMMED)


def fold_cell(text: str) -> str:
    """`text` with full-width forms as ASCII, trimmed, without the apostrophe that marks text in spreadsheets."""
    return text.translate(_FOLD).strip(TRIMMED).lstrip(APOSTROPHES).strip(TRIMMED)


def normalise_phone(text: str | None) -> Cleaned:
    """The 11 digits of a mainland mobile number.

    Accepted: +86, 0086 or 86 in front, blanks, dashes, parentheses, full-width digits, a leading apostrophe.
    """
    folded = fold_cell(text or "")
    if _is_empty(folded):
        return Cleaned()
    if damage := _damage(folded):
        return Cleaned(fault=damage)
    compact = folded.translate(_DROP_SEPARATORS)
    if prefixed := re.fullmatch(PHONE_PREFIXED, compact):
        compact = prefixed[1]
    if re.fullmatch(PHONE, compact):
        return Cleaned(compact)
    if re.fullmatch(FOREIGN, compact) and not compact.startswith(("+86", "0086")):
        return Cleaned(fault="PHONE_NOT_MAINLAND")
    if not re.fullmatch(r"\+?[0-9]+", compact):
        return Cleaned(fault="PHONE_CHARACTERS")
    return Cleaned(fault="PHONE_LENGTH" if len(compact) != 11 else "PHONE_NOT_MOBILE")


def normalise_id_no(text: str | None, *, today: date) -> Cleaned:
    """The 18 characters of a resident identity number; a former number of 15 digits is converted.

    today: the date after which nobody is born yet.
    Source: GB 11643-1999, sections 4 and 5; the former numbers all belong to the years 19yy.
    """
    folded = fold_cell(text or "")
    if _is_empty(folded):
        return Cleaned()
    if damage := _damage(folded):
        return Cleaned(fault=damage)
    compact = folded.translate(_DROP_SEPARATORS).replace("x", "X")
    if re.fullmatch(r"[0-9]{15}", compact):
        body = f"{compact[:6]}19{compact[6:]}"
        compact = body + id_check_character(body)
    elif not re.fullmatch(r"[0-9]{17}[0-9X]", compact):
        is_short = re.fullmatch(r"[0-9X]+", compact) and len(compact) not in (15, 18)
        return Cleaned(fault="ID_LENGTH" if is_short else "ID_CHARACTERS")
    checksum_fits = id_check_character(compact[:17]) == compact[17]
    if compact.endswith("000") and not checksum_fits:
        return Cleaned(fault="ID_DIGITS_LOST")
    if compact.startswith("000000"):
        return Cleaned(fault="ID_AREA")
    if not _is_birth_date(compact[6:14], today):
        return Cleaned(fault="ID_DATE")
    return Cleaned(compact) if checksum_fits else Cleaned(fault="ID_CHECKSUM")


def normalise_risk_level(text: str | None) -> Cleaned:
    """C1 to C5 from spellings such as `c1`, `C1 保守型`, `C1-保守型`; an empty cell stays empty."""
    folded = fold_cell(text or "")
    if _is_empty(folded):
        return Cleaned()
    found = re.fullmatch(RISK, folded)
    return Cleaned(f"C{found[1]}") if found else Cleaned(fault="RISK_LEVEL")


def normalise_customer_id(text: str | None) -> Cleaned:
    """The institution's own number of a customer: any visible text up to 64 characters, never empty."""
    folded = fold_cell(text or "")
    if _is_empty(folded):
        return Cleaned(fault="CUSTOMER_ID_MISSING")
    if folded.startswith("="):
        return Cleaned(fault="FORMULA")
    # Narrower than for phones: 12E3 may well be a customer number, 1.2E+10 is not.
    if re.fullmatch(SCIENTIFIC_SHOWN, folded):
        return Cleaned(fault="SCIENTIFIC")
    if re.fullmatch(DECIMAL, folded):
        return Cleaned(fault="DECIMAL_POINT")
    if len(folded) > CUSTOMER_ID_LENGTH:
        return Cleaned(fault="CUSTOMER_ID_LENGTH")
    if _UNFIT_CUSTOMER_ID.search(folded):
        return Cleaned(fault="CUSTOMER_ID_CHARACTERS")
    return Cleaned(folded)


def normalise_text(text: str | None) -> Cleaned:
    """A name or a tag: trimmed, otherwise as it is; an empty cell stays empty."""
    return Cleaned(trim_cell(text or "") or None)


def id_check_character(body: str) -> str:
    """The check character for the first 17 digits of an identity number. Source: GB 11643-1999 (ISO 7064 MOD 11-2)."""
    total = sum(int(digit) * weight for digit, weight in zip(body, ID_WEIGHTS, strict=True))
    return ID_CHECK_CHARACTERS[total % 11]


def parse_phone(text: str) -> PhoneNumber:
    """The phone number behind one spelling. Raises InvalidRequest, which does not repeat the value."""
    return PhoneNumber(_require(normalise_phone(text), "手机号", "phone number"))


def parse_id_no(text: str, *, today: date) -> IdNumber:
    """The identity number behind one spelling. Raises InvalidRequest, which does not repeat the value."""
    return IdNumber(_require(normalise_id_no(text, today=today), "身份证号", "identity number"))


def mask_phone(phone: str) -> str:
    """199****0317: the form pages, logs and review exports show. A value of another shape is masked as unknown."""
    return f"{phone[:3]}****{phone[-4:]}" if re.fullmatch(PHONE, phone) else mask_unknown(phone)


def mask_id_no(id_no: str) -> str:
    """3101**********123X: neither the date of birth nor the county. A value of another shape is masked as unknown."""
    return f"{id_no[:4]}**********{id_no[-4:]}" if re.fullmatch(r"[0-9]{17}[0-9X]", id_no) else mask_unknown(id_no)


def mask_name(name: str) -> str:
    """The first character and a star."""
    return f"{name[:1]}*" if name else ""


def looks_like_identifier(text: str) -> bool:
    """Whether a value of an unnamed column has the shape of a phone or an identity number: it is then shown to nobody."""
    return re.fullmatch(IDENTIFIER_SHAPE, text) is not None


def mask_unknown(text: str) -> str:
    """A value nobody could read: at most 3 characters in front and 2 behind, and its length stays unknown."""
    if len(text) >= 8:
        return f"{text[:3]}****{text[-2:]}"
    if len(text) >= 4:
        return f"{text[:1]}****"
    return "****" if text else ""


def _is_empty(folded: str) -> bool:
    return not folded or folded.lower() in EMPTY_WORDS


def _damage(folded: str) -> str | None:
    """The fault of a cell that a spreadsheet has changed beyond repair, if any."""
    if folded.startswith("="):
        return "FORMULA"
    if re.fullmatch(SCIENTIFIC, folded):
        return "SCIENTIFIC"
    if re.fullmatch(DECIMAL, folded):
        return "DECIMAL_POINT"
    return "CALENDAR_DATE" if re.fullmatch(CALENDAR_DATE, folded) else None


def _is_birth_date(digits: str, today: date) -> bool:
    try:
        born = date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return False
    return born.year >= FIRST_BIRTH_YEAR and born <= today


def _require(cleaned: Cleaned, zh: str, en: str) -> str:
    if cleaned.value is not None:
        return cleaned.value
    if cleaned.fault is None:
        raise InvalidRequest(f"请填写{zh}", f"give a {en}", code="KEY_MISSING")
    fault_zh, fault_en = FAULTS[cleaned.fault]
    raise InvalidRequest(f"{zh}无法使用：{fault_zh}", f"the {en} cannot be used: {fault_en}", code=cleaned.fault)
