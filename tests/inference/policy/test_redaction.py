"""Identifiers of customers never enter a sandbox: they are found in every spelling, and nothing else is."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from tests.bench import redaction as bench
from tests.inference.policy import forms
from workbench_inference.documents import synthetic
from workbench_inference.policy.redaction import KINDS, KnownNames, Pairs, Redacted, redact, restore
from workbench_inference.policy.redaction.numbers import luhn

KEY = b"a key of sixteen"
KNOWN = KnownNames.of(forms.NAMES, key=KEY, accounts=["KH-2024-0071", "8800"])
DEV = Path(__file__).with_name("redaction_dev.txt")
MARK = re.compile(r"\{(phone|id|card|name|account|email|address):(.*?)\}")
STEPS_A_CHARACTER = 700
"""Most steps a character of text may cost; measured: 15 to 80 on sentences, 560 on the worst row of digits there is."""


def marked(line: str) -> tuple[str, list[tuple[str, int, int]]]:
    text, spans, place = "", [], 0
    for found in MARK.finditer(line):
        text += line[place : found.start()]
        spans.append((found[1], len(text), len(text) + len(found[2])))
        text += found[2]
        place = found.end()
    return text + line[place:], spans


def dev_lines() -> tuple[KnownNames, list[str]]:
    _, names, *lines = DEV.read_text("utf-8").splitlines()
    listed = [one.replace("_", " ") for one in names[2:].replace("John Smith", "John_Smith").replace("Zhang Wei", "Zhang_Wei").split()]
    return KnownNames.of(listed, key=KEY), lines


def spans(redacted: Redacted) -> list[tuple[str, int, int]]:
    return [(one.kind, one.start, one.end) for one in redacted.tiles]


def test_every_line_of_the_development_set_loses_exactly_what_is_marked() -> None:
    known, lines = dev_lines()
    assert len(lines) > 100
    for line in lines:
        text, wanted = marked(line)
        assert spans(redact(text, known)) == wanted, text


def test_identifiers_are_found_in_every_spelling() -> None:
    rng = random.Random(7)
    for _ in range(200):
        text, kind, start, end = forms.sentence(rng)
        found = redact(text, KNOWN)
        assert any(one.kind == kind and one.start <= start and end <= one.end for one in found.tiles), text
        assert all(one.start < end and start < one.end for one in found.tiles), text
        assert found.left == 0, text


def test_the_set_that_others_wrote_is_found_as_well_as_promised() -> None:
    """tests/vectors/redaction-set.jsonl, all of it. Judged once before the code was changed for it: every type 1.0 but names, which had
    recall 0.957 and precision 0.993; what was changed since is said in docs/sandbox-policy.md section 1."""
    head, lines = bench.lines()
    assert len(lines) >= 350
    rates = bench.judge(lines, bench.known(head)).rates()
    for kind, one in rates.items():
        assert one["labelled"] >= 25 and one["recall"] >= 0.99 and one["precision"] >= 0.98, (kind, one)


def test_the_third_set_is_found_now_that_it_was_seen() -> None:
    """tests/vectors/redaction-third.jsonl. Judged once before the code was changed for it: names had recall 0.929 and precision 0.945,
    accounts and addresses recall 0.875 (one of eight each), everything else 1.0."""
    for kind, one in bench.judge_third().rates().items():
        assert one["recall"] >= 0.98 and one["precision"] >= 0.98, (kind, one)


DOCUMENTS = ["苎白同业存单三个月持有期基金的基金经理白同，白同任职以来净值稳定。白同表示市场平稳。上海的海上贸易恢复，上海出海企业增加。" * 4]
DOCUMENTS += [one.text for one in synthetic.make(3, funds=40, notices=5, news=20, quotes=0, prompts=5, questions=0, series=0).documents]


def test_a_name_across_the_seam_of_two_words_is_nobody_and_one_between_words_is_somebody() -> None:
    """What goes together is counted in the institution's own documents; that they name a manager hides no customer of his name."""
    pairs = Pairs.of(DOCUMENTS)
    known = KnownNames.of(["白同", "王海", "石信"], key=KEY).beside(Pairs.read(pairs.write()))
    for text in ("苎白同业存单怎么样", "想看苎白同业的费率"):
        assert not redact(text, known).tiles, text
        assert redact(text, KnownNames.of(["白同"], key=KEY)).tiles
    for text in ("白同昨天赎回了", "请白同来签字", "白同表示不满", "通知王海上海有路演", "白同，王海"):
        assert [one.kind for one in redact(text, known).tiles][:1] == ["name"], text
    assert redact("客户白同业务办完了", known).text == "客户〔姓名1〕业务办完了"  # who is said to be a customer is one
    assert "白" not in repr(known) + repr(pairs)


def test_sentences_about_somebody_do_not_hide_somebody_of_that_name() -> None:
    """Documents that speak of people as questions do, the worst there are: every neighbour of a name is bound to it in them, on one side."""
    head, lines = bench.lines()
    known = bench.known(head).beside(Pairs.of([one["text"] for one in lines] * 3))
    assert bench.judge(lines, known).rates()["name"]["recall"] >= 0.95  # 0.936 where one side alone decides


def test_a_whole_list_finds_the_set_as_well_as_its_own_names_beside_the_pairs_of_a_corpus() -> None:
    """16,000 listed names, so that many words have a namesake: `tests/bench/redaction.py` counts what is found where nobody is named."""
    head, lines = bench.lines()
    names = bench.every_name()
    known = KnownNames.of([*names, *head["names"]], key=KEY).beside(bench.pairs())
    rate = bench.judge(lines[::3], known).rates()["name"]
    assert rate["recall"] >= 0.97 and rate["precision"] >= 0.95, rate


def test_numbers_that_name_nobody_stay() -> None:
    rng = random.Random(8)
    for _ in range(200):
        text = forms.decoy(rng)
        assert redact(text, KNOWN).text == text


def test_the_map_brings_the_text_back_for_those_allowed() -> None:
    rng = random.Random(9)
    for _ in range(80):
        text = "；".join(forms.sentence(rng)[0] for _ in range(3))
        found = redact(text, KNOWN)
        again = restore(found.text, found, allowed=frozenset(KINDS))
        # One person's number in two spellings has one label: what comes back is the first spelling.
        assert redact(again, KNOWN).text == found.text
        if len({one.label for one in found.tiles}) == len(found.tiles):
            assert again == text
        assert restore(found.text, found, allowed=frozenset()) == found.text


def test_only_kinds_that_are_allowed_are_restored() -> None:
    found = redact("客户张伟，手机13812345678", KNOWN)
    assert found.text == "客户〔姓名1〕，手机〔手机1〕"
    assert restore("请联系〔姓名1〕：〔手机1〕〔手机2〕〔", found, allowed=frozenset({"name"})) == "请联系张伟：〔手机1〕〔手机2〕〔"


def test_one_number_has_one_label_however_it_is_written() -> None:
    found = redact("138 1234 5678 就是 13812345678，也是一三八一二三四五六七八；另一个 13987654321", KNOWN)
    assert [one.label for one in found.tiles] == ["〔手机1〕"] * 3 + ["〔手机2〕"]


def test_a_label_typed_by_a_person_is_not_taken_for_ours() -> None:
    text = "〔手机1〕是什么意思？13812345678"
    found = redact(text, KNOWN)
    assert found.text == "〔手机1〕是什么意思？〔手机2〕"
    assert restore(found.text, found, allowed=frozenset(KINDS)) == text


def test_what_is_restored_is_not_read_again() -> None:
    found = Redacted("", (), {"〔姓名1〕": "〔手机1〕", "〔手机1〕": "13812345678"}, 0, 0)
    assert restore("〔姓名1〕", found, allowed=frozenset(KINDS)) == "〔手机1〕"


def test_no_repr_shows_what_was_redacted_or_who_is_a_customer() -> None:
    text = "客户张伟，手机13812345678，客户号 KH-2024-0071"
    found = redact(text, KNOWN)
    shown = repr(found) + repr(KNOWN) + repr(found.tiles)
    assert [one.kind for one in found.tiles] == ["name", "phone", "account"]
    assert not any(value in shown for value in ("张伟", "13812345678", "KH-2024-0071", "0071", KEY.decode()))
    assert found.counts == {"account": 1, "name": 1, "phone": 1}


@pytest.mark.parametrize(
    "unit",
    [
        "1", "13812345678 ", "1-", "1 2 ", "一", "138一", "张", "张 ", "路1号", "上海市", "中山路", "号", "a@", "a@b.", "(at)", " at ", "62220212345678", "3栋2单元", "𝟏", "①", "电话", "客户号",
        "一下周", "A1", "0", "021-", "O1l", "〔", "\u200b", "㎡", "欧阳", "1.", "和平",
    ],
)  # fmt: skip
def test_cost_is_linear_in_the_length_whatever_is_repeated(unit: str) -> None:
    known = KnownNames.of([*forms.NAMES, "张" * 30, "欧阳欧阳欧阳欧"], key=KEY)
    steps = []
    for size in (250, 1_000):
        text = (unit * size)[:size]
        steps.append(redact(text, known).steps)
        assert steps[-1] <= STEPS_A_CHARACTER * 2 * size
    assert steps[1] <= 4.5 * steps[0] + 5_000


@settings(max_examples=40)
@given(st.text(alphabet="0123456789 -.,XxOl一二三八〇幺张伟王路号市区栋上海@aA()\n·电话手机卡订单", max_size=60))
def test_any_text_costs_at_most_so_many_steps_and_keeps_what_is_no_identifier(text: str) -> None:
    found = redact(text, KNOWN)
    assert found.steps <= STEPS_A_CHARACTER * 2 * (len(text) + 1)
    rest, place = [], 0
    for one in found.tiles:
        assert place <= one.start < one.end <= len(text)
        rest += (text[place : one.start], one.label)
        place = one.end
    assert "".join((*rest, text[place:])) == found.text


@settings(max_examples=40)
@given(st.text(max_size=80))
def test_any_text_at_all_is_taken(text: str) -> None:
    found = redact(text, KNOWN)
    if not found.tiles:
        assert found.text == text


def naive_numbers(text: str) -> list[tuple[str, int, int]]:
    """Digits between letters of no number: every stretch is looked at, and the rules are written down once more."""
    found = []
    for one in re.finditer(r"(?<![0-9])[0-9]+(?![0-9])", text):
        digits = one[0]
        kind = ""
        if len(digits) == 11 and digits[0] == "1" and digits[1] in "03456789":
            kind = "phone"
        elif len(digits) == 18:
            total = sum(int(digit) * weight for digit, weight in zip(digits, (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2), strict=False))
            month, day = int(digits[10:12]), int(digits[12:14])
            if "10X98765432"[total % 11] == digits[17] and 1 <= month <= 12 and 1 <= day <= 28 and digits[6:8] in ("19", "20"):
                kind = "id"
        if not kind and len(digits) in (16, 17, 19) and digits[:2] == "62" and luhn(digits):
            kind = "card"
        if kind:
            found.append((kind, one.start(), one.end()))
    return found


def test_the_scanner_agrees_with_a_naive_reading_of_the_rules() -> None:
    rng = random.Random(10)
    for _ in range(120):
        parts = []
        for _ in range(4):
            parts.append(rng.choice((forms.phone(rng), forms.identity(rng)[:17] + rng.choice("0123456789"), "62" + forms.card(rng)[2:], str(rng.randrange(10**5, 10**7)))))
            parts.append(rng.choice("甲乙丙丁；戊己"))
        text = "".join(parts)
        ours = [one for one in spans(redact(text, KNOWN)) if one[0] in ("phone", "id", "card")]
        naive = naive_numbers(text)
        assert [one for one in naive if one not in ours] == [], text
        days = [one for one in ours if one not in naive and one[0] != "id"]
        assert days == [], text


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["欧阳娜娜", "诸葛青云", "John Smith", "Zhang Wei", "欧阳", "娜娜", "John", "，", "。", " ", "王", "x"]), max_size=12))
def test_long_names_are_found_as_a_naive_search_finds_them(parts: list[str]) -> None:
    """Names of four Chinese characters, and Latin ones as whole words, need nothing around them: every place counts, leftmost first."""
    text = "".join(parts)
    found = [(one.start, one.end) for one in redact(text, KNOWN).tiles if one.kind == "name" and one.end - one.start >= 4]
    naive = [one.span() for one in re.finditer(r"欧阳娜娜|诸葛青云|(?<![0-9A-Za-z])(?:John Smith|Zhang Wei)(?![0-9A-Za-z])", text)]
    assert [one for one in naive if not any(start <= one[0] and one[1] <= end for start, end in found)] == [], text


def test_names_on_the_list_are_digests_in_memory() -> None:
    held = {field: getattr(KNOWN, field) for field in KNOWN.__slots__}
    assert held["_digests"].typecode == held["_accounts"].typecode == "Q" and len(held["_digests"]) == KNOWN.count
    assert not any("伟" in str(one) for one in held.values())
