"""The data class of a question: the highest of its text, its template and every document it may read. Pure.

Document: docs/protocols/sandbox.md section 13. A typed text in which nothing had to be replaced is as public as its template says;
one in which something was is internal, because what surrounds a customer says something too; one in which an identifier is left
is personal and goes nowhere as long as no sandbox is attested.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from workbench.domain.documents import DOCUMENT_CLASSES
from workbench.errors import Refused
from workbench_inference.policy.redaction import Redacted

CLASS_NAMES: Final[dict[str, tuple[str, str]]] = {
    "public": ("公开", "public"), "internal": ("内部", "internal"), "important": ("重要", "important"), "personal": ("个人", "personal"),
}  # fmt: skip
LEVELS: Final = ("process", "gvisor", "tee")
"""Of assurance, ascending (docs/protocols/sandbox.md section 6)."""


def class_of(redacted: Redacted, documents: Iterable[str], template: str) -> str:
    """documents: classes of what may be read; template: the template's class. ValueError for a class nobody knows."""
    question = "personal" if redacted.left else "internal" if redacted.tiles else "public"
    return highest([question, template, *documents])


def highest(classes: Iterable[str]) -> str:
    """The highest of these, "public" for none."""
    return DOCUMENT_CLASSES[max((DOCUMENT_CLASSES.index(one) for one in classes), default=0)]


def require_level(klass: str, levels: Mapping[str, Any], *, assurance: str, behind: bool) -> None:
    """Raises Refused CLASS_TOO_HIGH unless a sandbox of this assurance, with its engine inside or behind, may read this class.

    levels: setting inference.class_levels; a class that it does not name is read nowhere.
    """
    rule = levels.get(klass)
    zh, en = CLASS_NAMES[klass]
    if not isinstance(rule, Mapping) or rule.get("level") not in LEVELS or LEVELS.index(assurance) < LEVELS.index(str(rule["level"])):
        raise Refused(
            f"「{zh}」级的内容不能进入保证级别为 {assurance} 的沙箱：去掉个人或重要信息后再问，或由运维岗租用更高级别的沙箱",
            f"content of class {en} may not enter a sandbox of level {assurance}: ask without personal or important data, or operators lease a higher level",
            code="CLASS_TOO_HIGH", details={"class": klass, "assurance": assurance},
        )  # fmt: skip
    if behind and not rule.get("behind", False):
        raise Refused(
            f"「{zh}」级的内容不能交给沙箱旁边的引擎：换用沙箱内的引擎", f"content of class {en} may not reach an engine beside the sandbox: use an engine inside",
            code="CLASS_TOO_HIGH", details={"class": klass, "place": "behind"},
        )  # fmt: skip


__all__ = ["CLASS_NAMES", "LEVELS", "class_of", "highest", "require_level"]
