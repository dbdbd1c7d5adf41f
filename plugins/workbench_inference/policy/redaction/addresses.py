"""Postal addresses in folded text, where they are recognisable: a road with a house number, a building with a flat, or two
administrative levels with a place below them. Pure; each character is looked at a bounded number of times.

An address is read as a row of parts, each a name and a word for what it is (省, 路, 小区) or a number and such a word (号, 栋, 室).
A single part is none: `上海市`, `3 号线`, `南京路` and `2 号方案` stay. Parts after GB/T 23705 (names of places) as far as they are common.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from workbench_inference.policy.redaction.folding import CHINESE_DIGITS, Meter
from workbench_inference.policy.redaction.numbers import Found

LONGEST: Final = 120
_NAME: Final = 12  # most characters of one name, such as 张江高科技园


def _by_first(*words: str) -> dict[str, tuple[str, ...]]:
    """Words by their first character, the longest first."""
    return {first: tuple(sorted((one for one in words if one[0] == first), key=len, reverse=True)) for first in {one[0] for one in words}}



_ADMIN: Final = ("特别行政区", "自治区", "自治州", "自治县", "自治旗", "地区", "新区", "林区", "开发区", "街道", "省", "市", "区", "县", "州", "盟", "旗", "镇", "乡", "苏木")
_LEVEL: Final = {"省": 1, "自治区": 1, "特别行政区": 1, "市": 2, "自治州": 2, "地区": 2, "盟": 2, "州": 2, "区": 3, "县": 3, "新区": 3, "林区": 3, "开发区": 3, "自治县": 3, "旗": 3, "自治旗": 3, "街道": 4, "镇": 4, "乡": 4, "苏木": 4}
_ROAD: Final = ("大道", "大街", "胡同", "公路", "马路", "环路", "支路", "北段", "南段", "东段", "西段", "中段", "路", "街", "巷", "弄", "道", "里", "坊", "条")
_SURE_ROAD: Final = ("大道", "大街", "胡同", "北段", "南段", "东段", "西段", "中段")
_PLACE: Final = (
    "小区", "花园", "家园", "公寓", "大厦", "广场", "大楼", "中心", "新村", "社区", "别墅", "山庄", "花苑", "佳苑", "名苑", "雅苑", "嘉园", "名邸", "豪庭", "华庭", "华府", "学府", "公馆", "国际", "宿舍", "家属院", "大院", "科技园", "软件园", "产业园", "工业园", "创业园",
    "园区", "商务楼", "写字楼", "商城", "苑", "园", "村", "屯", "庄", "寨", "庭", "府", "邸", "湾", "轩", "阁", "城", "居", "院", "楼", "塔", "墅", "营", "堡", "组", "队", "酒店", "宾馆", "学校", "大学",
)  # fmt: skip
_UNIT: Final = ("号院", "号楼", "号弄", "号", "弄", "栋", "幢", "座", "单元", "层", "楼", "室", "房", "户", "门", "组", "队", "区", "期", "支弄", "村", "街坊", "段", "梯", "铺", "棟", "#楼", "#", "－")
_INNER: Final = frozenset(("栋", "幢", "座", "单元", "室", "号楼", "户", "层", "楼", "门", "房", "梯", "#楼", "#"))
_PROVINCES: Final = (
    "北京", "天津", "上海", "重庆", "河北", "山西", "辽宁", "吉林", "黑龙江", "江苏", "浙江", "安徽", "福建", "江西", "山东", "河南", "湖北", "湖南", "广东", "海南", "四川", "贵州", "云南", "陕西", "甘肃", "青海", "内蒙古", "广西", "西藏", "宁夏", "新疆",
)  # fmt: skip
_CITIES: Final = (
    "广州", "深圳", "杭州", "南京", "苏州", "无锡", "常州", "宁波", "温州", "嘉兴", "绍兴", "金华", "成都", "武汉", "长沙", "郑州", "西安", "济南", "青岛", "烟台", "合肥", "福州", "厦门", "泉州", "南昌", "南宁", "桂林", "海口", "三亚", "昆明", "贵阳", "兰州", "西宁", "银川", "乌鲁木齐", "呼和浩特",
    "沈阳", "大连", "长春", "哈尔滨", "石家庄", "太原", "佛山", "东莞", "珠海", "中山", "惠州", "南通", "徐州", "扬州", "镇江", "盐城", "芜湖", "洛阳", "香港", "澳门",
)  # fmt: skip
_STARTS: Final = _PROVINCES + _CITIES
_STARTS_BY_FIRST: Final = _by_first(*_STARTS)
_NAMED: Final = _by_first(*_ADMIN, *_ROAD, *_PLACE)
_UNITS: Final = _by_first(*_UNIT)
_LONGER: Final = _by_first("路", "街", "大道", "道", "巷", "小区", "花园", "苑", "新村", "公寓", "大厦", "广场", "镇", "乡", "村", "区", "县", "市")
_STOPS: Final = frozenset("在到是为于住址寄送从往给的了和与及或请我你他她您它家这那至去把将由被让向跟有自按去来回成")
_NO_START: Final = frozenset("住在到寄送我你他她它是的了请您或与及但并且也就都还")
_NO_ROAD: Final = ("思路", "线路", "一路", "出路", "套路", "道路", "网路", "铁路", "公路", "电路", "回路", "通路", "后路", "退路", "门路", "半路", "走路", "路路", "带路", "这条", "一条", "两条", "三条", "哪里", "这里", "那里", "心里", "手里", "家里", "里里", "夜里", "公里", "海里", "英里", "店里", "圈里", "屋里", "群里", "户里", "页里", "表里", "单里", "账里", "票里", "月里", "年里", "天里", "款里", "金里", "告里", "报里", "件里", "本里", "条里", "手里", "里", "渠道", "频道", "通道", "报道", "味道", "知道", "轨道", "隧道", "管道", "人道", "街道", "赛道", "力道", "厚道", "公道", "一道", "难道", "条", "坊", "第一条", "道")  # fmt: skip
_NO_PLACE: Final = ("城市", "中心", "公园", "国际", "全国", "基金", "证券")
_AFTER_NUMBER: Final = ("线", "文", "令", "公告", "基金", "机组", "方案", "码", "产品", "资管", "集合", "私募", "信托", "理财", "召开", "发布", "晚", "早", "上午", "下午", "之前", "以前", "以后", "前", "后", "起", "到账", "开始", "截止", "当天", "之后", "收盘", "开盘", "净值", "临时", "第", "修订", "决议", "议案", "期货", "合约", "球场", "种子", "选手", "通知", "条款", "标的", "组合", "计划", "员工", "客户", "指数", "准则", "指引")
_TOLD: Final = ("地址", "住址", "家住", "住在", "住", "寄到", "寄往", "送到", "邮寄到", "寄给", "收件地址", "户籍", "户口", "籍贯", "现居", "居住", "居住地", "常住", "通讯处", "搬到", "搬至", "搬去", "家在", "房子在", "位于", "address", "lives at", "live at")
_CHINESE_NUMBER: Final = frozenset(CHINESE_DIGITS) | frozenset("十百千廿卅")
_LETTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_BLANKS: Final = frozenset(" \t\n,，、")


@dataclass(frozen=True, slots=True)
class _Part:
    """kind: admin, road, place, number or room; word: what it is."""

    kind: str
    word: str
    start: int
    end: int


def find(text: str, meter: Meter) -> list[Found]:
    """Addresses from left to right, none over another."""
    found: list[Found] = []
    place = reach = 0
    while place < len(text):
        meter.count += 1
        if not (_is_han(text[place]) or _is_number(text[place])):
            place += 1
            continue
        one = _address(text, place, reach, meter)
        if one is None:
            place += 1
            continue
        found.append(one)
        place = reach = one.end
    return found


def _address(text: str, anchor: int, reach: int, meter: Meter) -> Found | None:
    """The address one of whose parts ends its name with the word at `anchor`, with what stands before and behind it."""
    part = _anchor(text, anchor, reach, meter)
    if part is None:
        return None
    parts = [part]
    end = part.end
    while end - part.start < LONGEST and len(parts) < 14:
        meter.count += 1
        more = _next(text, end, parts[-1], meter)
        if more is None:
            break
        parts.append(more)
        end = more.end
    is_told = _is_told(text, part.start)
    if not _is_address(parts, is_told=is_told):
        return None
    return Found("address", part.start, parts[-1].end, text[part.start : parts[-1].end].replace(" ", ""), 4)


def _anchor(text: str, anchor: int, reach: int, meter: Meter) -> _Part | None:
    """The first part of an address: a province or city by name, or a name before a word for a place."""
    for name in _STARTS_BY_FIRST.get(text[anchor], ()):
        meter.count += 1
        if text.startswith(name, anchor):
            end = anchor + len(name)
            for word in ("特别行政区", "壮族自治区", "回族自治区", "维吾尔自治区", "自治区", "省", "市"):
                if text.startswith(word, end):
                    return _Part("admin", "省" if name in _PROVINCES and word != "市" else "市", anchor, end + len(word))
            behind = text[end : end + 1]
            if behind in ("路", "街", "大") or text.startswith(("东路", "西路", "南路", "北路", "中路", "一路", "二路", "东街", "西街"), end):
                break  # 南京西路 is a road
            return _Part("admin", "市", anchor, end)
    meter.count += 1
    word = _word_at(text, anchor, _NAMED)
    if not word:
        return _number(text, anchor, meter, first=True)
    start = _name_before(text, anchor, reach, meter)
    if start is None:
        return None
    kind = "admin" if word in _LEVEL else "road" if word in _ROAD else "place"
    whole = text[start : anchor + len(word)]
    if kind == "road" and whole.endswith(_NO_ROAD) and not whole.endswith(_SURE_ROAD):
        is_numbered = anchor - start >= 2 and _digits_behind(text, anchor + 1)
        if not (is_numbered and (word == "里" or (word == "道" and whole[-2:] not in _NO_ROAD))):
            return None
    if kind == "place" and anchor - start < 2 and word in ("城", "居", "院", "楼", "湾", "府", "园", "营", "塔", "组", "队", "国际", "中心", "轩", "阁", "学府", "酒店", "宾馆", "学校", "大学", "庭", "村", "庄", "堡", "寨", "屯", "邸", "墅", "苑"):
        return None
    return _Part(kind, word, start, anchor + len(word))


def _next(text: str, end: int, before: _Part, meter: Meter) -> _Part | None:
    """The part right behind one, with at most two blanks or one comma between them."""
    place = end
    while place < len(text) and place < end + 2 and text[place] in _BLANKS:
        place += 1
        meter.count += 1
    if place >= len(text):
        return None
    if any(one in ",，、" for one in text[end:place]) and before.kind != "admin":
        return None
    number = _number(text, place, meter, first=False)
    if number is not None:
        if number.kind == "room" and before.word not in ("楼", "栋", "幢", "单元", "座", "号楼", "层", "大厦", "号", "广场", "中心", "公寓", "小区", "苑", "园", "-") and before.kind != "number":
            return None
        return number
    return None if text[place] in _NO_START else _named(text, place, meter)


def _named(text: str, place: int, meter: Meter) -> _Part | None:
    """A name of at most _NAME characters with its word, beginning here; the longest word at the nearest place."""
    at = place
    while at < len(text) and at < place + _NAME:
        meter.count += 1
        character = text[at]
        if not (_is_han(character) or character in _LETTERS or "0" <= character <= "9"):
            return None
        if character in "的了是，":
            return None
        word = _word_at(text, at, _NAMED) if at > place else ""
        if word:
            longer = _word_at(text, at + len(word), _LONGER)
            if longer and len(word) == 1 and at + 1 - place < 4 and word in ("城", "园", "庄", "村", "区", "州", "里", "府", "营", "街", "路", "市"):
                at += 1
                continue
            kind = "admin" if word in _LEVEL else "road" if word in _ROAD else "place"
            whole = text[place : at + len(word)]
            if kind == "road" and whole.endswith(_NO_ROAD) and not whole.endswith(_SURE_ROAD) and not _digits_behind(text, at + len(word)):
                return None
            return _Part(kind, word, place, at + len(word))
        at += 1
    return None


def _number(text: str, place: int, meter: Meter, *, first: bool) -> _Part | None:
    """A number, or a letter, with its unit: 168号, 3栋, B座, 一百六十八号, 12-3号, 甲5号; a bare room number of three or four digits."""
    at = place
    if text[at] in "甲乙丙丁第附" and at + 1 < len(text) and _is_number(text[at + 1]):
        at += 1
    start = at
    while at < len(text) and at < start + 8 and (_is_number(text[at]) or text[at] in "-—/、" or (text[at] in _LETTERS and at - start < 6) or (text[at] in "之甲乙丙" and at > start)):
        at += 1
        meter.count += 1
    while at > start and text[at - 1] in "-—/、之":
        at -= 1
    if at == start:
        return None
    body = text[start:at]
    blank = at
    while blank < len(text) and blank < at + 1 and text[blank] == " ":
        blank += 1
    unit = _word_at(text, blank, _UNITS)
    if unit:
        behind = blank + len(unit)
        if unit == "号" and text.startswith(_AFTER_NUMBER, behind):
            return None
        if unit in ("区", "村", "组", "队", "期", "门", "楼", "层") and first:
            return None
        if unit == "号" and first:
            return None
        if first and unit not in ("栋", "幢", "号楼", "单元", "座", "弄"):
            return None
        if text.startswith("之", behind) and _is_number(text[behind + 1 : behind + 2]):
            behind += 2  # 1234号之二
        return _Part("number", unit, place, behind)
    digits = "".join(CHINESE_DIGITS.get(one, one) for one in body if one not in "-—")
    if not first and digits.isascii() and digits.isdigit() and 3 <= len(body) <= 8:
        ending = text[at : at + 1]
        is_long = bool(ending) and (ending in "元万亿年月%." or ending.isdigit())
        return None if is_long or not 3 <= len(digits) <= 6 else _Part("room", "-" if "-" in body else "", place, at)
    return None


def _name_before(text: str, anchor: int, reach: int, meter: Meter) -> int | None:
    """Where the name before a word at `anchor` begins; None where there is none. Ends at stops, but not within two characters."""
    start = anchor
    while start > max(reach, anchor - 8):
        meter.count += 1
        character = text[start - 1]
        if not (_is_han(character)):
            break
        if character in _STOPS and anchor - start >= 2:
            break
        start -= 1
    while start < anchor and text[start] in _STOPS and anchor - start > 2:
        start += 1
    for told in ("住在", "寄到", "送到", "地址", "住址", "搬到", "家住", "位于", "住"):
        if text.startswith(told, start) and anchor - start - len(told) >= 2:
            start += len(told)
    # The name of a province or city within the name begins it.
    for at in range(start + 1, anchor):
        meter.count += 1
        if text[at] in _STARTS_BY_FIRST and text.startswith(_STARTS, at) and text[at + 2 : at + 3] != "路":
            start = at
            break
    return start if anchor - start >= 1 and start < anchor else None


def _is_address(parts: list[_Part], *, is_told: bool) -> bool:
    """Whether parts name where somebody is rather than a region."""
    kinds = [one.kind for one in parts]
    words = [one.word for one in parts]
    numbers = kinds.count("number") + kinds.count("room")
    has_road, has_place = "road" in kinds, "place" in kinds
    admin = kinds.count("admin")
    inner = sum(one.kind == "room" or one.word in _INNER for one in parts if one.kind in ("number", "room"))
    house = any(one.kind == "number" and one.word in ("号", "弄", "号院", "号弄", "号楼", "支弄", "街坊") for one in parts)
    if has_road and (house or numbers):
        return True
    if (has_place or admin) and (inner >= 1 and (numbers >= 2 or (has_place and parts[0].kind != "number"))):
        return "室" in words or "单元" in words or "栋" in words or "幢" in words or "号楼" in words or "room" in kinds or numbers >= 2 or (admin >= 1 and has_place)
    if has_place and house and (admin or is_told or numbers >= 2):
        return True
    if admin >= 2 and (has_place or has_road):
        return is_told or admin >= 3 or (numbers > 0) or words[-1] in ("村", "屯", "庄", "寨", "小区", "新村", "花园", "家园", "公寓")
    if is_told and admin >= 1 and (has_place or has_road):
        return True
    if is_told and admin >= 3:
        return True
    if parts[0].kind == "number":
        return numbers >= 3 or (numbers >= 2 and ("室" in words or "room" in kinds) and words[0] in ("栋", "幢", "号楼", "单元"))
    return False


def _is_told(text: str, start: int) -> bool:
    left = text[max(0, start - 10) : start].lower().rstrip(" :：是为,，\"'“「(（")
    return left.endswith(_TOLD)


def _digits_behind(text: str, place: int) -> bool:
    while place < len(text) and text[place] == " ":
        place += 1
    return place < len(text) and _is_number(text[place])


def _word_at(text: str, place: int, words: Mapping[str, tuple[str, ...]]) -> str:
    """The longest of these words that stands at `place`, "" for none."""
    for word in words.get(text[place : place + 1], ()):
        if text.startswith(word, place):
            return word
    return ""


def _is_number(character: str) -> bool:
    return "0" <= character <= "9" or character in _CHINESE_NUMBER


def _is_han(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff"


__all__ = ["find"]
