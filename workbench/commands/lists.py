"""import customers, import consents, consent withdraw."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from workbench.client.session import Client
from workbench.commands.common import (
    Options,
    ProgressLine,
    client_for,
    credentials,
    exports_folder,
    print_result,
    say,
    workspace_of,
    write_private,
)
from workbench.domain.party import Role
from workbench.errors import Refused
from workbench.workspace import Workspace


def import_customers(options: Options) -> int:
    """Upload a list with its catalogue entry; prints {rows, accepted, rejected, duplicates, rejects_file}."""
    workspace = workspace_of(options)
    path = _existing(options.file)
    catalogue = {
        "name": options.name or path.name,
        "owner": options.owner or options.party,
        "source": options.source,
        "subjects": options.subjects,
        "method": options.method,
        "data_class": options.data_class,
        "lawful_basis": options.lawful_basis,
    }
    if options.as_of:
        catalogue["as_of"] = options.as_of
    request = {"catalogue": catalogue, "mapping": _mapping(options.map)}
    return _import(options, workspace, Role.MARKETING, "lists.import", path, request)


def import_consents(options: Options) -> int:
    """Upload grants, with the forms that rows name; prints {rows, accepted, rejected, duplicates, orphans, rejects_file}."""
    path = _existing(options.file)
    request = {"backdating": options.backdating} if options.backdating else {}
    with packed_forms(options.documents) as documents:
        return _import(options, workspace_of(options), Role.COMPLIANCE, "consent.import", path, request, documents=documents)


def withdraw(options: Options) -> int:
    """Withdraw consent of one customer, at once."""
    workspace = workspace_of(options)
    request: dict[str, Any] = {}
    if options.phone:
        request["phone"] = options.phone
    if options.id_no:
        request["id_no"] = options.id_no
    if options.purpose:
        request["purpose"] = options.purpose
    if options.recipient:
        request["recipient"] = options.recipient
    request |= {"by": options.by, "proof": options.proof, "reason": options.reason}
    _, password = credentials(workspace, options.party, Role.COMPLIANCE)
    with client_for(workspace, options.party, Role.COMPLIANCE) as client:
        reply = client.confirmed("consent.withdraw", password=password, **request)
    print_result(options, reply, ["撤回已生效 / withdrawn, effective at once"])
    return 0


def _import(
    options: Options, workspace: Workspace, role: Role, operation: str, path: Path, request: dict[str, Any],
    *, documents: Path | None = None,
) -> int:  # fmt: skip
    if options.max_bad_share is not None:
        request["max_bad_share"] = options.max_bad_share
    line = ProgressLine()
    with client_for(workspace, options.party, role) as client:
        try:
            if documents is not None:
                request["documents"] = client.upload(documents, progress=line)
            reply = client.call(operation, progress=line, file=client.upload(path, progress=line), **request)
        except Refused as refusal:
            line.end()
            rejects = refusal.details.pop("rejects", "")
            if rejects:
                saved = _save_rejects(client, workspace, options.party, path, rejects)
                refusal.details["rejects_file"] = saved
                say(f"拒收清单：{saved} / rejects file")
            raise
        line.end()
        saved = _save_rejects(client, workspace, options.party, path, reply["rejects"]) if reply["rejects"] else ""
    value = {name: reply[name] for name in ("rows", "accepted", "rejected", "duplicates", "reasons")}
    value |= {"rejects_file": saved} | {name: reply[name] for name in ("list_id", "suppressed", "orphans", "shared_keys") if name in reply}
    lines = [f"导入 {value['accepted']:,} 行，{value['rejected']:,} 行未导入，合并重复 {value['duplicates']:,} 行 / imported"]
    if value.get("suppressed"):
        lines.append(f"{value['suppressed']:,} 行属于已退出的客户，未导入 / rows of customers who have left, not imported")
    if value.get("orphans"):
        lines.append(f"{value['orphans']:,} 个签署文件没有一行写明 / forms that no row names")
    report = reply.get("report", {})
    if "age" in report:
        value |= {name: report[name] for name in ("age", "class_conflicts", "conflicts")}
        lines += quality_lines(report)
    if saved:
        lines.append(f"拒收清单：{saved} / rejects file")
    print_result(options, value, lines)
    return 0


def quality_lines(report: Mapping[str, Any]) -> list[str]:
    """What the quality report points out besides refused rows: the age of the data, and customers of two classes."""
    age, lines = report["age"], []
    if not age["source"]:
        lines.append("资料日期不明：文件没有更新日期列，登记里没有写或写在将来 / age unknown: no date column, and no day declared that has come (--as-of)")
    else:
        lines.append(f"资料日期 {age['oldest'] or '-'} 至 {age['newest'] or '-'} / data of these days")
        if age["stale"]:
            lines.append(f"{age['stale']:,} 行超过 {age['days']} 天未更新 / rows are older than {age['days']} days")
        if age["undated"]:
            lines.append(f"{age['undated']:,} 行没有可用的日期 / rows have no date that can be read")
    if report["class_conflicts"]:
        lines.append(f"{report['class_conflicts']:,} 位客户的各行风险等级不一致，以最后一行为准 / customers with different risk levels; the last row stands")
        for one in report["conflicts"]:
            told = " → ".join(f"{level or '-'} ({line})" for level, line in zip(one["levels"], one["lines"], strict=True))
            lines.append(f"  {one['customer']}: {told}")
    return lines


@contextmanager
def packed_forms(name: str | None) -> Iterator[Path | None]:
    """A ZIP as it is, or the files of a folder as one in a private temporary place, gone afterwards; None without either."""
    if not name:
        yield None
        return
    folder = Path(name)
    if folder.is_file():
        yield folder
        return
    if not folder.is_dir():
        raise Refused(f"没有文件夹「{folder.name}」", f"There is no folder {folder.name}", code="NO_FILE")
    with TemporaryDirectory() as place:
        packed = Path(place) / "documents.zip"
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
            for path in sorted(folder.iterdir()):
                if path.is_file() and not path.is_symlink():
                    archive.write(path, path.name)
        yield packed


def _save_rejects(client: Client, workspace: Workspace, party: str, path: Path, download: str) -> str:
    target = exports_folder(workspace, party) / f"{path.stem}.rejects.csv"
    write_private(target, client.download(download))
    return str(target)


def _existing(name: str) -> Path:
    path = Path(name)
    if not path.is_file():
        raise Refused(f"没有文件「{path.name}」", f"There is no file {path.name}", code="NO_FILE")
    return path


def _mapping(pairs: list[str]) -> dict[str, str]:
    mapping = {}
    for pair in pairs:
        ours, separator, header = pair.partition("=")
        if not separator or not ours or not header:
            raise Refused("--map 的写法是 phone=手机", "--map is written phone=HEADER", code="BAD_MAPPING")
        mapping[ours] = header
    return mapping
