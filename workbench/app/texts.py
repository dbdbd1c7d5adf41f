"""Texts of pages in two languages: one file per language, the same keys with the same fields in both."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

LANGUAGES = {"zh": "zh_CN", "en": "en"}


@cache
def texts_of(package: str) -> Mapping[str, Mapping[str, str]]:
    """Texts of a package's `locale` folder: language ("zh", "en") to key to sentence. Missing files mean no texts."""
    found: dict[str, dict[str, str]] = {}
    for lang, name in LANGUAGES.items():
        path = files(package).joinpath("locale", f"{name}.json")
        found[lang] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def translate(texts: Mapping[str, Mapping[str, str]], lang: str, key: str, fields: Mapping[str, object]) -> str:
    """The sentence of a key with its fields filled in. KeyError for an unknown key or a missing field.

    Fields are put in as they are: whoever shows the text shows it as text, never as markup (decision 21).
    """
    return texts[lang][key].format(**fields)


def problems(texts: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What is wrong with a package's texts: keys of one language only, other fields, empty sentences."""
    zh, en = texts["zh"], texts["en"]
    found = [f"{key}: only in one language" for key in sorted(zh.keys() ^ en.keys())]
    for key in sorted(zh.keys() & en.keys()):
        if not zh[key].strip() or not en[key].strip():
            found.append(f"{key}: empty")
        if _fields(zh[key]) != _fields(en[key]):
            found.append(f"{key}: the languages take different fields")
    return found


def _fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
