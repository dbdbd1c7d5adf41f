"""Sentences, passages and search terms of a text: docs/protocols/corpus.md section 2. Pure; linear in the length of the text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

PASSAGE_CHARACTERS = 240
SENTENCE_CHARACTERS = 480

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_TERMS = re.compile(rf"[{HAN}]+|(?:[^\W_{HAN}]|(?<=[0-9])[.,\-](?=[0-9]))+")
_IS_HAN = re.compile(rf"[{HAN}]")
_ENDS = "。！？!?；;\n"


def fold(text: str) -> str:
    """Full-width and compatibility forms as plain ones, in lower case. Its length may differ from the text's."""
    return unicodedata.normalize("NFKC", text).lower()


def fold_with_places(text: str) -> tuple[str, list[int]]:
    """The text folded character by character, and for each folded character its place in `text`; one place more for the end."""
    if text.isascii():
        return text.lower(), list(range(len(text) + 1))
    folded: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        plain = character.lower() if character.isascii() else unicodedata.normalize("NFKC", character).lower()
        folded.append(plain)
        places.extend([place] * len(plain))
    places.append(len(text))
    return "".join(folded), places


def terms(text: str) -> list[str]:
    """The terms of a text in order, repeated as often as they stand there."""
    found: list[str] = []
    for match in _TERMS.finditer(fold(text)):
        run = match.group()
        if _IS_HAN.match(run):
            found.extend([run] if len(run) == 1 else (run[i : i + 2] for i in range(len(run) - 1)))
        else:
            found.append(run.replace(",", ""))
    return found


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each sentence or line, without white space around it; a long one in pieces of SENTENCE_CHARACTERS."""
    start = 0
    length = len(text)
    for place, character in enumerate(text):
        if character in _ENDS:
            yield from _pieces(text, start, place if character == "\n" else place + 1)
            start = place + 1
    yield from _pieces(text, start, length)


def passages(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each passage: whole sentences, joined while they stay within PASSAGE_CHARACTERS."""
    begin = end = -1
    for start, stop in sentences(text):
        if begin >= 0 and stop - begin <= PASSAGE_CHARACTERS:
            end = stop
            continue
        if begin >= 0:
            yield begin, end
        begin, end = start, stop
    if begin >= 0:
        yield begin, end


def is_table(text: str) -> bool:
    """Is more than half of it, beside white space, digits and punctuation? Such a passage is found by its terms alone."""
    seen = signs = 0
    for character in text:
        if character.isspace():
            continue
        seen += 1
        signs += not character.isalpha()
    return signs * 2 > seen


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    while end - start > SENTENCE_CHARACTERS:
        yield start, start + SENTENCE_CHARACTERS
        start += SENTENCE_CHARACTERS
        while start < end and text[start].isspace():
            start += 1
    if start < end:
        yield start, end
