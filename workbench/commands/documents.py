"""documents: import, synthetic, list, remove, index, usages, grant, revoke. Each verb is one operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.commands.common import Options, ProgressLine, client_for, credentials, print_result, workspace_of
from workbench.domain.party import Role
from workbench.errors import Refused

Tell = Callable[[Mapping[str, Any]], list[str]]


def bring(options: Options) -> int:
    """Import a file; exit status 2 where nothing of it could be taken."""
    path = Path(options.file)
    if not path.is_file():
        raise Refused(f"没有文件「{path.name}」", f"There is no file {path.name}", code="NO_FILE")
    request = {name: getattr(options, name) for name in ("kind", "source", "time", "data_class")} | {"is_synthetic": options.synthetic}
    role = Role.COMPLIANCE if options.synthetic else Role.OPERATOR
    return _run(options, "inference.documents_import", request, _imported, role=role, upload=path)


def synthetic(options: Options) -> int:
    """Import the synthetic corpus of a seed."""
    return _run(options, "inference.documents_import", {"seed": options.seed}, _imported)


def listed(options: Options) -> int:
    """Documents and corpora."""
    request = {name: getattr(options, name) for name in ("kind", "source", "limit", "after")}
    return _run(options, "inference.documents", request, _documents)


def remove(options: Options) -> int:
    """Remove documents by name, or all of a source."""
    request = {"documents": options.document, "source": options.source, "reason": options.reason}
    return _run(options, "inference.documents_remove", request, _removed)


def index(options: Options) -> int:
    """Make the corpus; with a line of progress, stopped by the interrupt key."""
    request = {"words_only": options.words_only, "synthetic_only": options.synthetic_only}
    return _run(options, "inference.index", request, lambda reply: [_corpus(reply["corpus"]), *_indexed(reply)])


def usages(options: Options) -> int:
    """Contracts of use."""
    return _run(options, "inference.usages", {}, lambda reply: [_usage(one) for one in reply["usages"]] or ["没有 / none"])


def grant(options: Options) -> int:
    """Allow a use."""
    request = {name: getattr(options, name) for name in ("kind", "source", "scenario", "most", "until", "reason")} | {"roles": options.role}
    return _run(options, "inference.usage_grant", request, lambda reply: [_usage(reply)], role=Role.COMPLIANCE, confirmed=True)


def revoke(options: Options) -> int:
    """End a use now."""
    request = {"usage": options.usage, "reason": options.reason}
    return _run(options, "inference.usage_revoke", request, lambda reply: [_usage(reply)], role=Role.COMPLIANCE, confirmed=True)


def _run(
    options: Options, operation: str, request: dict[str, Any], tell: Tell, *, role: Role = Role.OPERATOR, confirmed: bool = False,
    upload: Path | None = None,
) -> int:  # fmt: skip
    workspace, line = workspace_of(options), ProgressLine()
    with client_for(workspace, options.party, role) as client:
        if upload is not None:
            request["file"] = client.upload(upload, progress=line)
        confirmation = ""
        if confirmed:
            _, password = credentials(workspace, options.party, role)
            confirmation = client.confirmation(operation, request, password=password)
        reply = dict(client.call(operation, progress=line, confirmation=confirmation, **request))
        line.end()
    print_result(options, reply, tell(reply))
    return 0


def _imported(reply: Mapping[str, Any]) -> list[str]:
    lines = []
    for one in reply["imported"]:
        lines.append(f"{one['kind']}：{one['taken']} 份新资料，{one['same']} 份原有，{one['rejected']} 处未导入 / new, there before, rejected")
        if one["redacted"]:
            lines.append(f"  {one['redacted']} 份已脱敏 / redacted")
    for one in reply["rejects"][:20]:
        lines.append(f"  {one['place']}：{one['zh']} / {one['en']} [{one['code']}]")
    return [*lines, "请随后建立索引：workbench documents index / index them next"]


def _documents(reply: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{one['document']}  {one['kind']}  {_day(one['time_ms'])}  {one['data_class']}{'  合成 synthetic' if one['is_synthetic'] else ''}"
        f"{'' if one['is_indexed'] else '  未入资料包 not indexed'}  {one['title']}"
        for one in reply["documents"]
    ]
    lines.append(f"共 {reply['total']} 份 / in all" + (f"，续看 --after {reply['next']} / more" if reply["next"] else ""))
    lines += [_corpus(one) for one in reply["corpora"]]
    if reply["indexing"]:
        going = reply["indexing"]
        by = "按含义" if going["embedder"] else "按词"
        lines.append(f"正在{by}建立索引：{going['done']:,} / {going['total']:,} 段；完成前用上面最新的资料包 / indexing {'by meaning' if going['embedder'] else 'by words'}: {going['done']:,} of {going['total']:,} passages; until then the newest corpus above answers")
    if reply["is_outdated"]:
        lines.append("资料在最近一次建立索引后有变动 / documents changed since the newest corpus")
    return lines


def _corpus(one: Mapping[str, Any]) -> str:
    by = one["embedder"] or "仅按词 / words only"
    return f"资料包 {one['corpus'][:16]}…  {one['documents']} 份  {one['passages']} 段  {one['size_bytes']:,} B  {by}{'  合成 synthetic' if one['is_synthetic'] else ''}"


def _indexed(reply: Mapping[str, Any]) -> list[str]:
    lines = [f"沿用 {reply['kept']} 段的向量，用时 {reply['milliseconds'] / 1000:.1f} s / embeddings kept; time taken"]
    if reply["left_out"]:
        lines.append(f"{reply['left_out']} 份因分级过高未放入 / left out: no sandbox may hold their class")
    return lines


def _removed(reply: Mapping[str, Any]) -> list[str]:
    lines = [f"已移除 {reply['removed']} 份 / removed"]
    if reply["corpora"]:
        lines.append("资料包已停用，请重新建立索引 / corpora were given up: index again")
    return lines


def _usage(one: Mapping[str, Any]) -> str:
    used = f"{one['used']}/{one['most']}" if one["most"] else f"{one['used']}"
    state = "有效 live" if one["is_live"] else "无效 ended"
    return f"{one['usage']}  {one['kind']}{'·' + one['source'] if one['source'] else ''} → {one['scenario']}  {' '.join(one['roles'])}  {used}  至 until {_day(one['until_ms'])}  {state}"


def _day(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).date().isoformat()
