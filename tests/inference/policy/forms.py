"""Identifiers in the spellings people use, and sentences around them, drawn from a seed. Written with the code: it finds what the
code forgot of its own promises, and is no measure of how good it is (that is tests/vectors/redaction-*.jsonl)."""

from __future__ import annotations

import random
from datetime import date, timedelta

from workbench.domain.identifiers import id_check_character
from workbench_inference.policy.redaction.numbers import luhn

NAMES = ("张伟", "王芳", "李明", "刘洋", "陈静", "赵敏", "周涛", "吴磊", "徐丽", "孙悦", "郭靖宇", "卢靖姗", "欧阳娜娜", "诸葛青云", "阿里木·买买提", "John Smith", "Zhang Wei")
FULL = str.maketrans("0123456789X-", "０１２３４５６７８９Ｘ－")
CHINESE = ("零一二三四五六七八九", "〇一二三四五六七八九", "零壹贰叁肆伍陆柒捌玖", "洞幺两三四五六拐八九")
AROUND = (
    ("", ""), ("客户说他的{}是", "，麻烦记一下"), ("{}：", ""), ("请把 ", " 登记进去"), ("我的{}换成了", "了"), ("刚才那位的{}", "对不对？"), ("（", "）"), ("她留的{}是 ", "。下午再联系"),
    ("备注：", "；其余不变"), ("帮我查一下", "的开户情况"), ("客户的{}（", "）已核对"), ("你好，", " 是我的{}"), ("昨天 14:05 来电，{} ", "，问 510300 的净值 1.3812"), ("1. ", "\n2. 其他"), ("his {} is ", ", please update"), ("以前写的是", "，现在没用了"),
)  # fmt: skip
SAID = {"phone": "手机", "id": "身份证号", "card": "银行卡号", "account": "资金账号", "email": "邮箱", "address": "地址", "name": "姓名"}


def phone(rng: random.Random) -> str:
    return "1" + rng.choice("3456789") + "".join(rng.choice("0123456789") for _ in range(9))


def identity(rng: random.Random) -> str:
    born = date(1940, 1, 1) + timedelta(days=rng.randrange(25_000))
    body = rng.choice(("310101", "110105", "440305", "990123", "330106")) + f"{born:%Y%m%d}" + f"{rng.randrange(1, 999):03d}"
    return body + id_check_character(body)


def card(rng: random.Random) -> str:
    body = rng.choice(("622202", "621700", "955880", "436742", "622848")) + "".join(rng.choice("0123456789") for _ in range(9 if rng.random() < 0.4 else 12))
    return next(body + one for one in "0123456789" if luhn(body + one))


def account(rng: random.Random) -> str:
    return rng.choice(("", "", "A")) + str(rng.randrange(10**8, 10**9))


def email(rng: random.Random) -> str:
    return f"{rng.choice(('zhang.wei', 'li_ming88', 'wf', '13800138000'))}@{rng.choice(('example.com', 'mail.example.com.cn', 'qq.com'))}"


def address(rng: random.Random) -> str:
    number = rng.randrange(1, 900)
    return rng.choice((
        f"上海市浦东新区世纪大道{number}号", f"江苏省南京市鼓楼区中山北路{number}号", f"天河区体育东路{number}号{rng.randrange(2, 30)}楼", f"阳光花园{rng.randrange(1, 40)}栋{rng.randrange(1, 6)}单元{rng.randrange(101, 999)}室",
        f"北京市海淀区中关村南大街{number}号院{rng.randrange(1, 9)}号楼{rng.randrange(101, 999)}", f"延安西路{number}弄{rng.randrange(1, 60)}号{rng.randrange(101, 2999)}室",
    ))  # fmt: skip


def grouped(digits: str, sizes: tuple[int, ...], gap: str) -> str:
    parts, place = [], 0
    for size in sizes:
        parts.append(digits[place : place + size])
        place += size
    return gap.join(part for part in (*parts, digits[place:]) if part)


def spelled(kind: str, value: str, rng: random.Random) -> str:
    """One spelling of a number: plain, full width, with gaps, digit by digit, in Chinese numerals, or mixed."""
    if kind not in ("phone", "id", "card"):
        return value.translate(FULL) if kind == "account" and rng.random() < 0.2 else value
    sizes = {"phone": (3, 4, 4), "id": (6, 8, 4), "card": (4, 4, 4, 4, 3)}[kind]
    way = rng.randrange(9)
    if way == 0:
        return value.translate(FULL)
    if way in (1, 2):
        return grouped(value, sizes, rng.choice((" ", "-", ".", "·", " - ", "　", "－", "\u00a0", "–")))
    if way == 3:
        return rng.choice((" ", "-", ".")).join(value)
    if way == 4:
        numerals = rng.choice(CHINESE)
        return "".join(numerals[int(one)] if one.isdigit() else one for one in value)
    if way == 5:
        numerals = rng.choice(CHINESE)
        middle = "".join(numerals[int(one)] if one.isdigit() else one for one in value[4:8])
        return value[:4] + middle + value[8:]
    if way == 6 and kind == "phone":
        return rng.choice(("+86", "+86 ", "0086", "86-", "+86-")) + value
    if way == 7:
        return "\u200b".join((value[:3], value[3:7], value[7:]))
    return value.lower() if rng.random() < 0.5 else value


MAKERS = {"phone": phone, "id": identity, "card": card, "account": account, "email": email, "address": address}


def sentence(rng: random.Random, *, kind: str = "") -> tuple[str, str, int, int]:
    """(text, kind, start, end): one identifier in a sentence."""
    kind = kind or rng.choice((*MAKERS, "name"))
    value = rng.choice(NAMES) if kind == "name" else spelled(kind, MAKERS[kind](rng), rng)
    left, right = rng.choice(AROUND)
    if kind == "account" and "{}" not in left and value[0] != "A":
        left, right = "{}：", ""
    left, right = left.replace("{}", SAID[kind]), right.replace("{}", SAID[kind])
    return left + value + right, kind, len(left), len(left) + len(value)


def decoy(rng: random.Random) -> str:
    """A sentence with numbers that name nobody."""
    number = "".join(rng.choice("0123456789") for _ in range(rng.choice((6, 8, 10, 11, 12, 14, 16, 18, 19, 20))))
    day = date(2026, 1, 1) + timedelta(days=rng.randrange(330))
    return rng.choice((
        f"订单号 {number} 还没成交", f"流水号：{number}", f"委托编号为{number}，已撤", f"合同编号{number}", f"金额 {rng.randrange(10**6, 10**11):,} 元", f"成交量 {rng.randrange(10**10, 10**11)} 股", f"{day:%Y-%m-%d} {rng.randrange(24):02d}:{rng.randrange(60):02d} 净值 {rng.random() * 3:.4f}",
        f"{day:%Y年%m月%d日}披露，{rng.randrange(100000, 999999)} 与 {rng.randrange(100000, 999999)}", f"基金代码 {rng.randrange(1, 999999):06d}，费率 {rng.random():.2f}%", f"规模 {rng.random() * 1e4:.2f} 亿元，{rng.randrange(1, 90)} 只", f"回撤 -{rng.random() * 9:.2f}%，久期 {rng.random() * 5:.3f} 年", f"order no. {number}", f"版本 {rng.randrange(9)}.{rng.randrange(99)}.{rng.randrange(99999)}",
        f"快递单号{number}已签收", f"收益 {rng.randrange(10**10, 10**11)} 元", f"{rng.randrange(1, 9)}号线、{rng.randrange(1, 9)}号方案、第{rng.randrange(1, 99)}号公告", f"ISIN CN{number[:10]}", f"备案编号 S{number[:6]}",
    ))  # fmt: skip
