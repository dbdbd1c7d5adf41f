"""Documents, their passages and embeddings as one file, and the search in it; pure but for the embedder.

Document: docs/protocols/corpus.md. Embeddings are never written to a disk unencrypted: the caller of `build` seals.
What needs numpy is loaded when it is first asked for: an engine that has no corpus starts without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from workbench_sandbox.corpus.types import Embedder, Passage, SourceDocument, Sources

if TYPE_CHECKING:
    from workbench_sandbox.corpus.building import build
    from workbench_sandbox.corpus.documents import format_documents, parse_documents
    from workbench_sandbox.corpus.search import Corpus, Joined

__all__ = [
    "Corpus",
    "Embedder",
    "Joined",
    "Passage",
    "SourceDocument",
    "Sources",
    "build",
    "format_documents",
    "parse_documents",
]

_PLACES = {
    "build": "building",
    "format_documents": "documents",
    "parse_documents": "documents",
    "Corpus": "search",
    "Joined": "search",
}


def __getattr__(name: str) -> Any:  # Any: whatever the name stands for
    if name not in _PLACES:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
