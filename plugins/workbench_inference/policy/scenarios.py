"""The seven scenarios and their prompt templates. Pure; texts lie in `templates/`, one readable file a scenario.

A template has a version and a digest (SM3 of its canonical JSON) that stand in every ask. People propose and publish new versions
(`workbench_inference.policy.templates`); what a scenario may read and who may ask in it is fixed here and only narrowed by people.
Document: docs/sandbox-design.md section 6.2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final

from workbench.crypto import canonical, sm3
from workbench.domain.documents import DOCUMENT_CLASSES, DOCUMENT_KINDS
from workbench.domain.party import Role

SCENARIOS: Final = ("advice", "research", "banking", "marketing", "risk", "together", "running")
CHANNELS: Final = ("internal", "client")
FIELDS: Final = ("question", "client_class", "documents_day", "today")
"""What a template's text may ask for, as `{{name}}`."""
MOST_CHARACTERS: Final = 6_000


@dataclass(frozen=True, slots=True)
class Template:
    """One version of a scenario's prompt. text, disclaimer: by language; client_disclaimer: what customers read instead."""

    scenario: str
    version: int
    text: Mapping[str, str] = field(repr=False)
    disclaimer: Mapping[str, str] = field(repr=False)
    client_disclaimer: Mapping[str, str] = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.scenario}-v{self.version}"

    @property
    def digest(self) -> str:
        """64 hex; what `template_sm3` of an ask says."""
        return sm3.digest(self.encoded()).hex()

    def encoded(self) -> bytes:
        """Canonical JSON: what is kept, hashed and shown for review."""
        return canonical.format(
            {
                "v": 1, "scenario": self.scenario, "version": self.version, "text": dict(self.text), "disclaimer": dict(self.disclaimer),
                "client_disclaimer": dict(self.client_disclaimer),
            }
        )  # fmt: skip

    def disclaimed(self, channel: str) -> Mapping[str, str]:
        return self.client_disclaimer if channel == "client" else self.disclaimer

    def filled(self, question: str, language: str, *, client_class: str, documents_day: str, today: str) -> str:
        """The prompt for a generator. question: redacted; what looks like a field in it stays as it was typed."""
        values = {
            "client_class": client_class or ("未说明" if language == "zh" else "not given"), "documents_day": documents_day or "—", "today": today,
            "question": question,
        }  # fmt: skip
        out: list[str] = []
        place, text = 0, self.text[language]
        while (start := text.find("{{", place)) >= 0:
            end = text.index("}}", start)
            out += (text[place:start], values[text[start + 2 : end]])
            place = end + 2
        return "".join((*out, text[place:]))

    def instructions(self) -> tuple[str, ...]:
        """Lines that must not come back in an answer."""
        lines = {line.strip() for text in self.text.values() for line in text.splitlines()}
        return tuple(sorted(one for one in lines if len(one) >= 14 and "{{" not in one))


@dataclass(frozen=True, slots=True)
class Scenario:
    """What one scenario may read and who asks in it by default. klass: class of its template.

    asks_client_class: "always" (no answer without one), "when-known" or "never"; is_draft: answers are drafts for people.
    clients: whether invited customers may ask in it.
    """

    name: str
    zh: str
    en: str
    klass: str
    roles: frozenset[Role]
    kinds: tuple[str, ...]
    asks_client_class: str
    is_draft: bool
    clients: bool
    template: Template = field(repr=False)


@cache
def scenarios() -> Mapping[str, Scenario]:
    """All of them, in the order of SCENARIOS, each with the template it is delivered with."""
    return {name: _read(name) for name in SCENARIOS}


def named(text: str) -> str:
    """The scenario that people call so in either language, such as 投研 or `Research`; any other text as it is."""
    for one in scenarios().values():
        if text.strip().lower() in (one.name, one.zh, one.en.lower()):
            return one.name
    return text


def check_text(text: str, *, needs_question: bool) -> str:
    """"" for a text a template may have, else what is wrong with it, in two languages divided by a line break."""
    if not text.strip() or len(text) > MOST_CHARACTERS:
        return f"正文为空或超过 {MOST_CHARACTERS} 字\nthe text is empty or longer than {MOST_CHARACTERS} characters"
    place, asked = 0, []
    while (start := text.find("{{", place)) >= 0:
        end = text.find("}}", start)
        if end < 0 or text[start + 2 : end] not in FIELDS:
            return f"只能用这些占位：{'、'.join(FIELDS)}\nonly these fields may be used: {', '.join(FIELDS)}"
        asked.append(text[start + 2 : end])
        place = end + 2
    if needs_question and asked.count("question") != 1:
        return "正文须有一处 {{question}}\nthe text needs {{question}} once"
    if not needs_question and asked:
        return "声明中不能有占位\na disclaimer has no fields"
    return ""


def decode(data: bytes) -> Template:
    """A template as `encoded` writes it. Raises VerificationError for other bytes."""
    value: Any = canonical.parse(data)
    return Template(value["scenario"], value["version"], value["text"], value["disclaimer"], value["client_disclaimer"])


def _read(name: str) -> Scenario:
    value: dict[str, Any] = json.loads(files(__package__).joinpath(f"templates/{name}.json").read_text("utf-8"))
    text = {language: "\n".join(lines) for language, lines in value["text"].items()}
    template = Template(name, value["version"], text, value["disclaimer"]["internal"], value["disclaimer"]["client"])
    if value["scenario"] != name or not set(value["documents"]) <= set(DOCUMENT_KINDS) or value["class"] not in DOCUMENT_CLASSES:
        raise ValueError(f"templates/{name}.json names a kind or class that does not exist")
    return Scenario(
        name, value["name"]["zh"], value["name"]["en"], value["class"], frozenset(Role(one) for one in value["roles"]), tuple(value["documents"]),
        value["asks_client_class"], value["is_draft"], value["open_to_clients"], template,
    )  # fmt: skip


__all__ = ["CHANNELS", "FIELDS", "SCENARIOS", "Scenario", "Template", "check_text", "decode", "named", "scenarios"]
