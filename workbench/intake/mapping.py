"""Which column of a file is which field: known spellings of headers, an explicit choice, and what stays a tag.

A column is taken as a field by itself only when its header is a known spelling (confidence 1). A header that merely
contains one ("紧急联系人手机号") could name somebody else's number: it is proposed with a lower confidence, and the
import waits for an explicit choice. Document: docs/intake.md.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from workbench.domain.identifiers import FULL_WIDTH, INVISIBLE, TRIMMED
from workbench.errors import Refused
from workbench.intake.reasons import refuse_file, shown_header, shown_text

CUSTOMER_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "customer_id": (
        "客户号", "客户编号", "客户代码", "客户id", "customer_id", "customer_no", "customer_number", "cust_id",
        "cust_no", "client_id", "client_no",
    ),
    "phone": (
        "手机号", "手机", "手机号码", "移动电话", "phone", "phone_no", "phone_number", "mobile", "mobile_no",
        "mobile_number", "mobile_phone", "cellphone",
    ),
    "id_no": (
        "身份证号", "身份证", "身份证号码", "证件号码", "证件号", "公民身份号码", "id_no", "idno", "id_number",
        "id_card", "id_card_no", "identity_number",
    ),
    "name": ("姓名", "客户姓名", "name", "customer_name", "full_name"),
    "risk_level": ("风险等级", "客户风险等级", "风险承受能力等级", "risk_level", "risk", "risk_grade"),
}  # fmt: skip
"""Fields of a customer list and the spellings of their headers."""

GRANT_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "phone": CUSTOMER_FIELDS["phone"],
    "id_no": CUSTOMER_FIELDS["id_no"],
    "purpose": ("用途", "目的", "处理目的", "授权用途", "purpose", "purpose_code"),
    "recipient": ("接收方", "接收机构", "被授权方", "recipient", "recipient_party"),
    "valid_from": ("生效日期", "生效时间", "授权起始日", "开始日期", "valid_from", "start_date"),
    "valid_until": ("失效日期", "失效时间", "到期日", "有效期至", "授权截止日", "截止日期", "valid_until", "end_date"),
    "document_digest": ("文件摘要", "签署文件摘要", "文件哈希", "document_digest", "document_hash"),
    "document": ("签署文件", "签署文件名", "document", "document_file"),
    "channel": ("渠道", "签署渠道", "channel"),
    "notice": ("告知书", "告知书版本", "notice", "notice_version"),
    "categories": ("信息种类", "个人信息种类", "categories"),
    "contacts": ("联系渠道", "contact_channels"),
    "method": ("签署方式", "method", "signing_method"),
    "signer": ("签署人身份", "signer", "signed_by"),
    "separate": ("单独同意", "separate", "separate_consent"),
    "max_uses": ("使用次数上限", "max_uses"),
    "signer_name": ("签署人姓名", "代签人姓名", "监护人姓名", "代理人姓名", "signer_name", "representative_name"),
    "signer_relation": ("签署人与客户关系", "与客户关系", "signer_relation", "relation_to_customer"),
    "authority": ("授权依据", "代签依据", "authority", "basis_of_authority"),
    "authority_digest": ("授权文件摘要", "授权委托书摘要", "authority_digest", "authority_sm3"),
}
"""Fields of a consent file and the spellings of their headers."""

FIELD_NAMES: Final[dict[str, tuple[str, str]]] = {
    "customer_id": ("客户号", "customer number"),
    "phone": ("手机号", "phone number"),
    "id_no": ("身份证号", "identity number"),
    "name": ("姓名", "name"),
    "risk_level": ("风险等级", "risk level"),
    "purpose": ("用途", "purpose"),
    "recipient": ("接收方", "recipient"),
    "valid_from": ("生效日期", "valid from"),
    "valid_until": ("失效日期", "valid until"),
    "document_digest": ("文件摘要", "document digest"),
    "document": ("签署文件", "signed form"),
    "channel": ("渠道", "channel"),
    "notice": ("告知书版本", "version of the notice"),
    "categories": ("信息种类", "categories of personal information"),
    "contacts": ("联系渠道", "channels of contact"),
    "method": ("签署方式", "how it was signed"),
    "signer": ("签署人身份", "who signed"),
    "separate": ("单独同意", "separate consent"),
    "max_uses": ("使用次数上限", "largest number of uses"),
    "signer_name": ("签署人姓名", "name of who signed for the customer"),
    "signer_relation": ("签署人与客户关系", "how who signed is related to the customer"),
    "authority": ("授权依据", "basis of authority"),
    "authority_digest": ("授权文件摘要", "digest of the document of authority"),
}

TAG_LENGTH: Final = 40

Use = Literal["field", "tag", "ignored"]

_UNFIT_IN_TAGS = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{INVISIBLE}]")
# Only these remarks are overlooked: 手机号(紧急联系人) is another person's number.
_REMARK = re.compile(r"[(\[](?:必填|选填|可选|文本|文本格式|11位|18位|required|optional|text)[)\]]$", re.IGNORECASE)
_JOINERS = re.compile(r"[\s_\-.*:#/]+")
_FOLD = str.maketrans(FULL_WIDTH)


@dataclass(frozen=True, slots=True)
class ColumnUse:
    """What becomes of one column.

    index: place in the file, from 0. header: as in the file. field: the field it fills, the tag's name, or "".
    confidence: 1.0 for a known spelling or an explicit choice; 0.5 where the header only resembles the field `guess`,
    which a person has to confirm. Until then what may be a key or a customer number is ignored, anything else is a tag.
    """

    index: int
    header: str
    use: Use
    field: str
    confidence: float = 1.0
    guess: str = ""


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """What becomes of every column of a file, in the file's order."""

    columns: tuple[ColumnUse, ...]

    def index_of(self, field: str) -> int | None:
        """The column that fills `field`, if any; a mere guess does not count."""
        return next((one.index for one in self.columns if one.use == "field" and one.field == field), None)

    def tags(self) -> dict[str, int]:
        """Name and column of every tag, in file order."""
        return {one.field: one.index for one in self.columns if one.use == "tag"}

    def fields(self) -> dict[str, int]:
        """Name and column of every field that is filled."""
        return {one.field: one.index for one in self.columns if one.use == "field"}

    def as_list(self) -> list[dict[str, object]]:
        """The form that replies and pages carry; headers are cleaned for showing."""
        return [
            {
                "column": one.index + 1,
                "header": shown_header(one.header),
                "use": one.use,
                "field": one.field,
                "confidence": one.confidence,
                "guess": one.guess,
            }
            for one in self.columns
        ]


def propose_mapping(
    header: tuple[str, ...],
    *,
    fields: Mapping[str, tuple[str, ...]],
    chosen: Mapping[str, str] | None = None,
    with_tags: bool = True,
    path: Path,
) -> ColumnMapping:
    """What each column of `header` would be used for.

    fields: field to known spellings. chosen: field to the header a person named for it; "" leaves the field out.
    with_tags: whether other columns become tags; if not they are ignored. path: for messages only.
    Raises Refused: COLUMN_AMBIGUOUS when two columns claim one field or two tags have one name, COLUMN_UNKNOWN when a
    choice names a field or a column that is not there. A guess never raises; `require_fields` asks about it.
    """
    chosen = dict(chosen or {})
    taken = _chosen_columns(header, fields, chosen, path)
    known = {_plain(spelling): field for field, spellings in fields.items() for spelling in spellings}
    uses: list[ColumnUse] = []
    for index, name in enumerate(header):
        field = known.get(_plain(name)) or known.get(_plain(_REMARK.sub("", _folded(name))))
        if index in taken:
            uses.append(ColumnUse(index, name, "field", taken[index]))
        elif not _plain(name):
            uses.append(ColumnUse(index, name, "ignored", ""))
        elif field and field in chosen:
            # Another column was chosen for this field: keys are not kept as tags.
            uses.append(ColumnUse(index, name, "ignored", ""))
        elif field:
            uses.append(ColumnUse(index, name, "field", field))
        elif with_tags:
            uses.append(ColumnUse(index, name, "tag", tag_name(name)))
        else:
            uses.append(ColumnUse(index, name, "ignored", ""))
    _refuse_doubles(uses, path)
    return ColumnMapping(tuple(_with_guesses(uses, fields, chosen)))


def require_fields(mapping: ColumnMapping, *, all_of: tuple[str, ...], one_of: tuple[str, ...], path: Path) -> None:
    """Raise Refused (COLUMN_MISSING) unless every field of `all_of` and at least one of `one_of` has a column.

    The message names the columns that were only guessed, and how to confirm them.
    """
    filled = mapping.fields()
    missing = [field for field in all_of if field not in filled]
    if not missing and (not one_of or any(field in filled for field in one_of)):
        return
    wanted = missing or list(one_of)
    zh = "、".join(FIELD_NAMES[field][0] for field in wanted) if missing else "手机号或身份证号"
    en = ", ".join(FIELD_NAMES[field][1] for field in wanted) if missing else "phone number or identity number"
    guesses = [one for one in mapping.columns if one.guess in wanted]
    hint_zh, hint_en = "", ""
    if guesses:
        named = "; ".join(f"{one.guess}={shown_header(one.header)}" for one in guesses)
        hint_zh, hint_en = f"；可能是：{named}，请确认后指定", f"; it may be: {named}, confirm by naming it"
    if not filled:
        # Then the first row may well be data, and data does not belong into an error.
        raise refuse_file(
            "COLUMN_MISSING",
            path,
            f"没有任何可识别的列名（第一行可能是数据而不是表头）{hint_zh}",
            f"no column name is known (perhaps the first row is data and not a header){hint_en}",
            missing=", ".join(wanted),
        )
    headers = "、".join(shown_header(one.header, 20) for one in mapping.columns[:12])
    raise refuse_file(
        "COLUMN_MISSING",
        path,
        f"没有找到“{zh}”列{hint_zh}。文件中的列：{headers}",
        f"there is no column for {en}{hint_en}. Columns of the file: {headers}",
        missing=", ".join(wanted),
    )


def tag_name(header: str) -> str:
    """The name of the tag that a column becomes: the header on one line, at most 40 characters."""
    clean = " ".join(_UNFIT_IN_TAGS.sub(" ", header).split())
    return clean[:TAG_LENGTH].rstrip()


def canonical_field(name: str) -> str | None:
    """The customer field that a header spelling stands for, if any: 风险等级 is risk_level."""
    plain = _plain(name)
    for field, spellings in CUSTOMER_FIELDS.items():
        if any(plain == _plain(spelling) for spelling in spellings):
            return field
    return None


def _chosen_columns(
    header: tuple[str, ...], fields: Mapping[str, tuple[str, ...]], chosen: Mapping[str, str], path: Path
) -> dict[int, str]:
    taken: dict[int, str] = {}
    for field, name in chosen.items():
        if field not in fields:
            known = ", ".join(fields)
            raise refuse_file(
                "COLUMN_UNKNOWN",
                path,
                f"没有字段“{shown_text(field)}”，可用：{known}",
                f'there is no field "{shown_text(field)}"; there are: {known}',
            )
        if not name:
            continue
        places = [index for index, one in enumerate(header) if one == name]
        places = places or [index for index, one in enumerate(header) if _plain(one) == _plain(name)]
        if not places:
            near = difflib.get_close_matches(name, header, n=1)
            hint = (f"，是否是“{shown_header(near[0])}”", f', perhaps "{shown_header(near[0])}"') if near else ("", "")
            raise refuse_file(
                "COLUMN_UNKNOWN",
                path,
                f"没有列“{shown_text(name)}”{hint[0]}",
                f'there is no column "{shown_text(name)}"{hint[1]}',
                field=field,
            )
        if len(places) > 1:
            raise _ambiguous(path, name, places)
        if places[0] in taken:
            raise refuse_file(
                "COLUMN_AMBIGUOUS",
                path,
                f"列“{shown_text(name)}”被指定给两个字段：{taken[places[0]]}、{field}",
                f'the column "{shown_text(name)}" was chosen for two fields: {taken[places[0]]}, {field}',
                column=shown_text(name),
            )
        taken[places[0]] = field
    return taken


def _refuse_doubles(uses: list[ColumnUse], path: Path) -> None:
    seen: dict[tuple[str, str], ColumnUse] = {}
    # A tag may not take the name of a field either: the frame has one column of each name.
    for one in uses:
        if one.use == "ignored":
            continue
        if one.use == "tag" and one.field in CUSTOMER_FIELDS:
            raise _ambiguous(path, one.field, [one.index])
        earlier = seen.setdefault((one.use, one.field), one)
        if earlier is one:
            continue
        if one.use == "tag":
            is_header = any(other.use == "field" for other in uses)
            raise _ambiguous(path, one.field if is_header else "…", [earlier.index, one.index])
        first, second = shown_header(earlier.header), shown_header(one.header)
        zh, en = FIELD_NAMES[one.field]
        raise refuse_file(
            "COLUMN_AMBIGUOUS",
            path,
            f"“{first}”（第 {earlier.index + 1} 列）与“{second}”（第 {one.index + 1} 列）都像“{zh}”，请指定其一",
            f'"{first}" (column {earlier.index + 1}) and "{second}" (column {one.index + 1}) both look like the {en}: '
            "name the one to use",
            field=one.field,
        )


def _with_guesses(
    uses: list[ColumnUse], fields: Mapping[str, tuple[str, ...]], chosen: Mapping[str, str]
) -> list[ColumnUse]:
    """Mark columns whose header contains a known spelling of a field that no column fills."""
    open_fields = [field for field in fields if field not in chosen and all(one.field != field for one in uses)]
    result: list[ColumnUse] = []
    for one in uses:
        free = open_fields if one.use != "field" else []
        guess = next((field for field in free if _resembles(one.header, fields[field])), "")
        if guess in ("customer_id", "phone", "id_no"):
            one = ColumnUse(one.index, one.header, "ignored", "", 0.5, guess)
        elif guess:
            one = ColumnUse(one.index, one.header, one.use, one.field, 0.5, guess)
        result.append(one)
    return result


def _resembles(header: str, spellings: tuple[str, ...]) -> bool:
    plain = _plain(header)
    # Short words sit inside too many others: 手机品牌 and `filename` are neither a phone number nor a name.
    return any(
        plain.endswith(_plain(spelling)) if len(spelling) < 3 else _plain(spelling) in plain
        for spelling in spellings
        if spelling not in ("name", "risk")
    )


def _folded(header: str) -> str:
    return header.translate(_FOLD).strip(TRIMMED)


def _plain(header: str) -> str:
    """A header without case, width, blanks and joining marks."""
    return _JOINERS.sub("", _UNFIT_IN_TAGS.sub("", _folded(header)).casefold())


def _ambiguous(path: Path, name: str, places: list[int]) -> Refused:
    columns = "、".join(str(place + 1) for place in places)
    return refuse_file(
        "COLUMN_AMBIGUOUS",
        path,
        f"列名“{shown_header(name)}”重复或与字段同名（第 {columns} 列），请改名",
        f'the column name "{shown_header(name)}" is repeated or is the name of a field (columns {columns}): rename it',
        column=shown_text(name),
    )
