"""Every reason for refusing a row or a file of customers, in Chinese and English.

Row reasons go into the rejects file, file reasons into an error; both are listed in docs/intake.md. A sentence never
contains a value of the file except a column's header, and only the last part of a path is ever shown.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from workbench.domain.identifiers import FAULTS, mask_unknown
from workbench.errors import Refused

ROW_REASONS: Final[dict[str, tuple[str, str]]] = {
    **FAULTS,
    "NO_KEY": ("手机号和身份证号都为空", "both the phone number and the identity number are empty"),
    "CELL_COUNT": (
        "该行的单元格数与表头不同（可能有未加引号的分隔符）",
        "the row has another number of cells than the header (perhaps a separator without quotes)",
    ),
    "CELL_TOO_LONG": ("单元格超过 1000 个字符", "the cell has more than 1000 characters"),
    "CUSTOMER_CONFLICT": (
        "同一客户号出现了不同的手机号或身份证号，整组未导入，请核实后重新导入",
        "one customer number appears with different keys; none of its rows is imported: check and import again",
    ),
    "ID_DIGITS_SUSPECT": (
        "身份证号以 000 结尾，且本文件其他行的末三位已被表格软件改成 000，无法确认原值",
        "the identity number ends in 000 and a spreadsheet replaced the last digits of other rows of this file",
    ),
    "PURPOSE_MISSING": ("没有用途", "there is no purpose"),
    "PURPOSE_UNKNOWN": ("用途代码未登记", "the purpose code is not registered"),
    "RECIPIENT_MISSING": ("没有接收方", "there is no recipient"),
    "RECIPIENT_UNKNOWN": ("接收方不在合作机构之列", "the recipient is not one of the institutions"),
    "TIME_MISSING": ("没有日期", "there is no date"),
    "TIME_FORMAT": (
        "日期无法识别，请写成 2025-01-31 或 2025-01-31T09:00:00+08:00",
        "the date cannot be read: write 2025-01-31 or 2025-01-31T09:00:00+08:00",
    ),
    "TIME_SERIAL": (
        "单元格是 Excel 的日期序号，请把该列设为日期或文本后重新导出",
        "the cell is a spreadsheet's day number: set the column to date or text, export again",
    ),
    "TIME_RANGE": ("日期不在 2000 年至 2100 年之间", "the date does not lie between 2000 and 2100"),
    "PERIOD_EMPTY": ("失效时间不晚于生效时间", "the grant ends no later than it begins"),
    "DIGEST_FORMAT": ("文件摘要不是 64 位十六进制", "the document digest is not 64 hexadecimal characters"),
    "DOCUMENT_NAME": (
        "签署文件一栏应为文件名，不含路径，至多 200 个字符",
        "the signed form is named by its file name, without a path, at most 200 characters",
    ),
    "RECIPIENT_IS_PROCESSOR": (
        "这是受托处理方，有受托处理合同，不是接收方",
        "this is an entrusted processor with a contract, not a recipient",
    ),
    "NOTICE_MISSING": ("没有写明告知书版本", "the version of the notice is not named"),
    "NOTICE_UNKNOWN": (
        "没有发布过这个告知书版本（写法：名称@版本）",
        "no such version of a notice was published (written key@version)",
    ),
    "NOTICE_NOT_IN_FORCE": (
        "生效日期不在该告知书版本可签署的期间内",
        "the grant begins when customers could not sign under this version of the notice",
    ),
    "NOTICE_SCOPE": (
        "该告知书版本没有这一用途与接收方，或没有这些信息种类、联系渠道",
        "this version of the notice has no such purpose and recipient, or not these categories or channels",
    ),
    "CATEGORY_UNKNOWN": ("信息种类代码未登记", "the category of personal information is not registered"),
    "CONTACT_UNKNOWN": ("联系渠道代码未登记", "the channel of contact is not registered"),
    "METHOD_UNKNOWN": ("签署方式代码未登记", "the method of signing is not registered"),
    "SIGNER_UNKNOWN": (
        "签署人身份应为本人、监护人、代理人或近亲属",
        "who signed is self, guardian, agent or kin",
    ),
    "REPRESENTATIVE_MISSING": (
        "由他人代签，没有写明代签人姓名和授权依据",
        "somebody signed for the customer and name and basis of authority are not given",
    ),
    "REPRESENTATIVE_UNEXPECTED": (
        "写明了代签人，签署人身份却不是监护人、代理人或近亲属",
        "who signed for the customer is named, but the signer is no guardian, agent or kin",
    ),
    "REPRESENTATIVE_TEXT": (
        "代签人姓名、关系至多 100 个字符，授权依据至多 200 个，均为可显示的字符",
        "name and relation of who signed have at most 100 characters, the basis of authority 200, all printable",
    ),
    "SEPARATE_MISSING": ("没有单独同意，不能向接收方提供", "there is no separate consent, so nothing may go to the recipient"),
    "FLAG_FORMAT": ("应写是或否", "write yes or no"),
    "USES_FORMAT": ("使用次数应为 1 至 1000000 的整数", "the number of uses is a whole number from 1 to 1000000"),
    "CHANNEL_LENGTH": ("渠道超过 64 个字符", "the channel is longer than 64 characters"),
}
"""Why one row is refused: code to a sentence in Chinese and English."""

FILE_REASONS: Final[dict[str, str]] = {
    "FILE_MISSING": "the file does not exist or cannot be opened",
    "FILE_EMPTY": "the file has no byte, or nothing but blanks",
    "FILE_KIND": "the content is not what the name says, or the kind is not supported",
    "FILE_ENCODING": "the text is neither UTF-8 nor GB18030, or is damaged",
    "FILE_NUL": "a text file contains NUL bytes",
    "FILE_QUOTES": "quotation marks are not closed or stand in the wrong place",
    "FILE_DAMAGED": "the Parquet or XLSX structure cannot be read",
    "FILE_CHANGED": "the file changed while it was read",
    "FILE_TOO_LARGE": "more bytes, rows, columns or cells than the limit",
    "SHEET_UNKNOWN": "the workbook has no such sheet",
    "COLUMN_TYPE": "a Parquet column holds lists, structures or raw bytes",
    "HEADER_EMPTY": "the first row holds no column name",
    "COLUMN_MISSING": "a required column was not found",
    "COLUMN_AMBIGUOUS": "two columns stand for one field, or two tags have one name",
    "COLUMN_UNKNOWN": "the chosen mapping names a field or a column that does not exist",
    "NO_ROWS": "there is a header and no row",
    "QUALITY": "too many rows are refused, or none is left",
}
"""Why a whole file is refused; nothing of it is imported then."""

_UNFIT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_LONG_NUMBER = re.compile(r"(?:\d[\s-]?){7,}")


def shown_name(path: Path) -> str:
    """The last part of `path`, without control characters, at most 80 characters: the only part messages show."""
    return shown_text(path.name, 80)


def shown_text(text: str, limit: int = 40) -> str:
    """`text` on one line without control or direction characters, at most `limit` characters."""
    clean = _UNFIT_IN_NAMES.sub(" ", text).strip()
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def shown_header(text: str, limit: int = 40) -> str:
    """`text` as `shown_text`, masked when it holds a number as long as a key: a file without a header shows data."""
    return mask_unknown(shown_text(text, limit)) if _LONG_NUMBER.search(text) else shown_text(text, limit)


def refuse_file(code: str, path: Path, zh: str, en: str, **details: str | int) -> Refused:
    """The error for a whole file: names it by its last part, then says what is wrong and what to do.

    details: where it happened (`line`, `column`, ...), shown by pages beside the sentence.
    """
    assert code in FILE_REASONS, code
    name = shown_name(path)
    shown = {"file": name} | {key: str(value) for key, value in details.items()}
    return Refused(f"文件“{name}”未导入：{zh}", f'the file "{name}" was not imported: {en}', code=code, details=shown)
