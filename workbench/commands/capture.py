"""import forms: signed forms in bulk, an index and a folder or ZIP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workbench.client.session import Client
from workbench.commands.common import (
    Options,
    ProgressLine,
    client_for,
    exports_folder,
    print_result,
    workspace_of,
    write_private,
)
from workbench.commands.lists import packed_forms
from workbench.domain.party import Role
from workbench.errors import Refused
from workbench.workspace import Workspace


def import_forms(options: Options) -> int:
    """Upload index and forms; rejects are saved beside the exports, also when the whole file is refused."""
    workspace = workspace_of(options)
    index = Path(options.file)
    if not index.is_file():
        raise Refused(f"没有文件「{index.name}」", f"There is no file {index.name}", code="NO_FILE")
    request: dict[str, Any] = {"place": options.place, "backdating": options.backdating or ""}
    if options.max_bad_share is not None:
        request["max_bad_share"] = options.max_bad_share
    line = ProgressLine()
    with packed_forms(options.documents) as documents, client_for(workspace, options.party, Role.COMPLIANCE) as client:
        assert documents is not None, "the option is required"
        request["documents"] = client.upload(documents, progress=line)
        request["file"] = client.upload(index, progress=line)
        try:
            reply = client.call("consent.forms_import", progress=line, **request)
        except Refused as refusal:
            line.end()
            if refusal.details.get("rejects"):
                refusal.details["rejects_file"] = _save(client, workspace, options.party, index, refusal.details.pop("rejects"))
            raise
        line.end()
        saved = _save(client, workspace, options.party, index, reply["rejects"]) if reply["rejects"] else ""
    zh = ("新增", "未采纳", "重复", "已退出")
    en = ("new", "not taken", "known", "kept out")
    counts = [reply[name] for name in ("accepted", "rejected", "duplicates", "suppressed")]
    told_zh = "，".join(f"{word} {count:,}" for word, count in zip(zh, counts, strict=True))
    told_en = ", ".join(f"{count:,} {word}" for word, count in zip(en, counts, strict=True))
    lines = [f"索引 {reply['rows']:,} 行：{told_zh}；无索引行的文件 {reply['orphans']:,}"]
    lines.append(f"{reply['rows']:,} rows: {told_en}; {reply['orphans']:,} files without a row")
    for code, count in sorted(reply["reasons"].items()):
        told = reply["sentences"].get(code, {"zh": "", "en": ""})
        lines.append(f"  {code} {count:,}  {told['zh']} / {told['en']}")
    if saved:
        lines.append(saved)
    print_result(options, {**{name: one for name, one in reply.items() if name != "rejects"}, "rejects_file": saved}, lines)
    return 0


def _save(client: Client, workspace: Workspace, party: str, index: Path, download: str) -> str:
    target = exports_folder(workspace, party) / f"{index.stem}.rejects.csv"
    write_private(target, client.download(download))
    return str(target)


__all__ = ["import_forms"]
