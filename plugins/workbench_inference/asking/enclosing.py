"""Documents that a person sends with one question: read as the corpus is, redacted together with the question, for this ask alone.

Document: docs/protocols/sandbox.md section 8, stream `context`. They are in no corpus: kept sealed with the ask's own history, and
erased with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from workbench.contracts.inference import ReadLimits
from workbench.domain.documents import DOCUMENT_CLASSES, SourceDocument
from workbench.errors import Refused
from workbench_inference.policy.redaction import KnownNames, Redacted, redact
from workbench_sandbox.formats.asking import MAX_ASK_BYTES, MAX_QUESTION

MOST_FILES: Final = 8
MOST_DOCUMENTS: Final = 100
MOST_CHARACTERS: Final = 200_000
"""Of all documents of one question, titles included: what a redaction reads within a second."""
LEAST_CLASS: Final = "internal"
"""What somebody sends from a desk is no publication until it was imported as one."""
TITLE: Final = 512
FROM_DESK: Final = "随问文件"
"""Where a document comes from that says nothing of it: names of files are people's words and may name anybody."""
VERSION: Final = "1"
_BETWEEN: Final = "\n\n\x1e\n\n"
_MARGIN: Final = 8 << 10
"""Of an ask's 64 KiB, for all members but question and prompt."""


def read(host: Any, files: Sequence[str], *, kind: str) -> tuple[SourceDocument, ...]:
    """What uploaded files hold, by the connectors of the corpus. host: the node, with its uploads.

    Raises InvalidRequest for a file that cannot be read, Refused ENCLOSED_REFUSED where part of one cannot, ASK_TOO_LARGE.
    """
    from workbench_inference.documents import importing  # needs what reads sheets

    found: list[SourceDocument] = []
    for one in files:
        path = host.uploads.path(one)
        told = importing.read_file(
            host.document_connectors(), importing.content_of(path), name=path.name, kind=kind, source=FROM_DESK, time_ms=host.now_ms(), limits=ReadLimits()
        )
        if told.rejects or not told.documents:
            raise Refused(
                f"随问的文件“{path.name[:80]}”有 {len(told.rejects)} 处不能读取，未提问；改正后再问，或先导入资料库查看每一处原因",
                f'{len(told.rejects)} places of the file "{path.name[:80]}" sent with the question cannot be read, nothing was asked: mend them, or import it to see each reason',
                code="ENCLOSED_REFUSED", details={"rejected": str(len(told.rejects))},
            )  # fmt: skip
        found += told.documents
    characters = sum(len(one.text) + len(one.title) + len(one.source) for one in found)
    if len(found) > MOST_DOCUMENTS or characters > MOST_CHARACTERS:
        raise too_large(f"资料 {len(found)} 份、{characters} 字，最多 {MOST_DOCUMENTS} 份、{MOST_CHARACTERS} 字", f"{len(found)} documents of {characters} characters, at most {MOST_DOCUMENTS} of {MOST_CHARACTERS}")
    return tuple(
        replace(one, document=f"sent-{number:03d}", version=VERSION, klass=max(one.klass, LEAST_CLASS, key=DOCUMENT_CLASSES.index), synthetic=False)
        for number, one in enumerate(found, 1)
    )  # names of their own: none stands in place of a document of the corpus, and none says what its file called it


def redacted(question: str, sent: Sequence[SourceDocument], known: KnownNames) -> tuple[Redacted, tuple[SourceDocument, ...]]:
    """The question and its documents with labels, one label for one value in all of them; values and counts are those of all."""
    if not sent:
        return redact(question, known), ()
    parts = [question, *(part for one in sent for part in (one.title, one.source, one.text))]
    whole = redact(_BETWEEN.join(one.replace("\x1e", " ") for one in parts), known)
    clean = whole.text.split(_BETWEEN)
    if len(clean) != len(parts):
        raise Refused("随问资料脱敏失败，未提问", "the documents sent with the question could not be redacted, nothing was asked", code="ENCLOSED_REFUSED")
    made = [
        one if (one.title, one.source, one.text) == (title, source, text) else replace(one, title=title[:TITLE], source=source[:TITLE], text=text, fields={})
        for one, title, source, text in zip(sent, clean[1::3], clean[2::3], clean[3::3], strict=True)
    ]
    return replace(whole, text=clean[0]), tuple(made)


def require_kinds(sent: Sequence[SourceDocument], kinds: Sequence[str], mode: str) -> None:
    """Refused KIND_NOT_ALLOWED for a kind that this question may not read, REAL_DATA_IN_DEBUG under a lease for trials."""
    if any(one.kind not in kinds for one in sent):
        raise Refused("随问资料的种类在此场景不可用", "the kind of the documents sent with the question may not be read in this scenario", code="KIND_NOT_ALLOWED")
    if sent and mode == "debug":
        raise Refused("调试租约只读合成资料，不能随问发送文件", "a lease for trials reads synthetic documents only: no file goes with a question", code="REAL_DATA_IN_DEBUG")


def require_fits(question: str, prompt: str) -> None:
    """Refused ASK_TOO_LARGE for what the format of an ask does not hold; labels can be longer than what they stand for."""
    size = len(question.encode()) + len(prompt.encode())
    if len(question) > MAX_QUESTION or size > MAX_ASK_BYTES - _MARGIN:
        raise too_large(f"脱敏后的问题 {len(question)} 字、连同提示词 {size} 字节，最多 {MAX_QUESTION} 字、{MAX_ASK_BYTES - _MARGIN} 字节", f"{len(question)} characters once redacted, {size} bytes with its prompt; at most {MAX_QUESTION} and {MAX_ASK_BYTES - _MARGIN}")


def too_large(zh: str, en: str) -> Refused:
    """Nothing of it was sent."""
    return Refused(f"问题太大，未提问：{zh}。请分开提问", f"the question is too large, nothing was asked: {en}; ask in parts", code="ASK_TOO_LARGE")


__all__ = ["MOST_FILES", "read", "redacted", "require_fits", "require_kinds", "too_large"]
