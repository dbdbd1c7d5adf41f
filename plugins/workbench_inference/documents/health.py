"""What the health page says of documents at a tenant: is there a corpus, whole on the disk, and of what is there now?"""

from __future__ import annotations

from workbench.contracts import HealthReport
from workbench.errors import NotFound
from workbench_inference.documents import corpus_store
from workbench_inference.documents.corpus_store import DocumentHost


def report(host: DocumentHost) -> HealthReport:
    """One line; cheap: sizes are compared, nothing is opened."""
    from workbench_inference.documents import indexing  # needs numpy

    with host.store.read() as reader:
        rows = corpus_store.document_rows(reader, newest_only=True)
        corpora = corpus_store.corpora(reader)
        newest = corpus_store.current(reader)
    if newest is None:
        return _line("warning", f"有 {len(rows)} 份资料，没有资料包，无法提问：请建立索引", f"{len(rows)} documents and no corpus: nobody can ask; index them")
    for one in corpora:
        try:
            is_whole = corpus_store.size_of(host, one.digest) == one.size
        except NotFound:
            is_whole = False
        if not is_whole:
            return _line("failed", f"资料包 {one.digest[:16]} 的文件不见了或不完整：请重新建立索引", f"the file of corpus {one.digest[:16]} is gone or cut: index again")
    if indexing.outdated(host):
        return _line("warning", "资料在最近一次建立索引后有变动：请重新建立索引", "documents changed since the newest corpus: index again")
    how = f"{newest.documents} 份资料、{newest.passages} 段", f"{newest.documents} documents, {newest.passages} passages"
    by = ("按词与语义检索", "searched by words and meaning") if newest.embedder else ("仅按词检索", "searched by words alone")
    return _line("ok", f"{how[0]}，{by[0]}", f"{how[1]}, {by[1]}")


def _line(state: str, zh: str, en: str) -> HealthReport:
    return HealthReport("inference.documents", state, zh, en)
