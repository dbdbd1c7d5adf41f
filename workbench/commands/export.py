"""export: an evidence package for people outside, from the terminal."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from workbench.client.session import Client, Record
from workbench.commands.common import (
    Options,
    ProgressLine,
    client_for,
    credentials,
    print_result,
    say,
    workspace_of,
    write_private,
)
from workbench.domain.party import Role
from workbench.errors import Refused

POLL_S = 0.2
SEAL_S = 15.0


def export(options: Options) -> int:
    """Build, take and save the ZIP, and beside it the receipt of the export once it is co-signed; exit 2 if not final."""
    workspace = workspace_of(options)
    request = _request(options)
    out = Path(options.out)
    line = ProgressLine()
    with client_for(workspace, options.party, Role.COMPLIANCE) as client:
        if options.open or options.name_customer:
            _, password = credentials(workspace, options.party, Role.COMPLIANCE)
            request |= {"name_customer": True} if options.name_customer else {}
            confirmation = client.confirmation("evidence.export_opened", request, password=password)
            made = client.call("evidence.export_opened", progress=line, confirmation=confirmation, **request)
        else:
            made = client.call("evidence.export", progress=line, **request)
        line.end()
        if made.state == "NOT_FINAL":
            out = out.with_name(f"{out.stem}-NOT_FINAL{out.suffix}") if "NOT_FINAL" not in out.name else out
        write_private(out, lambda file: client.download_to(made.download, file))
        receipt = _receipt(client, options.party, made.index)
    value: dict[str, Any] = {**made, "out": str(out), "receipt": None}
    value.pop("download")
    if receipt is not None:
        path = out.with_name(out.name + ".receipt.json")
        write_private(path, json.dumps(receipt, ensure_ascii=False, indent=1).encode())
        value["receipt"] = str(path)
    print_result(options, value, _lines(value))
    return 0 if made.state == "FINAL" else 2


def _request(options: Options) -> dict[str, Any]:
    days = (options.from_day, options.to_day)
    if any(days) and not all(days):
        raise Refused("时段要同时给出 --from 与 --to", "A period needs --from and --to", code="BAD_REQUEST")
    given = {
        "job": options.job, "campaign": options.campaign, "customer": options.customer_token, "phone": options.customer_phone,
        "id_no": options.customer_id_no, "from_day": options.from_day, "to_day": options.to_day,
    }  # fmt: skip
    return {name: value for name, value in given.items() if value}


def _receipt(client: Client, party: str, index: int) -> dict[str, Any] | None:
    """The receipt of the export's own entry; None when nobody else has co-signed it in time."""
    limit = time.monotonic() + SEAL_S
    while True:
        entry: Record = client.evidence.entry(log=party, index=index)
        if len(entry.entry.cosigners) >= 2:
            return dict(entry.receipt)
        if time.monotonic() > limit:
            say("导出登记尚未共签，收据稍后再取 / the entry of the export is not co-signed yet; take its receipt later")
            return None
        time.sleep(POLL_S)


def _lines(value: dict[str, Any]) -> list[str]:
    total = sum(value["entries"].values())
    lines = [f"{value['out']}：{total} 条记录，{value['size']:,} 字节 / {total} entries, {value['size']:,} bytes"]
    if value["state"] == "NOT_FINAL":
        lines.append(f"未定稿 NOT_FINAL：{value['not_final']} 条缺少必需的共签，不可采信 / {value['not_final']} entries lack a required co-signature")
    if value["withheld"]:
        lines.append(f"开示 {value['opened']} 个字段，按规定扣下 {value['withheld']} 个 / {value['opened']} fields opened, {value['withheld']} kept back by rule")
    if value["report_pdf"] != "yes":
        lines.append("没有 PDF：本机没有中文字体或组件 / no PDF: this machine has no Chinese font or library")
    lines += [
        f"ZIP SM3         {value['package_sm3']}",
        f"verify.py SM3   {value['verify_py_sm3']}",
        f"verify.html SM3 {value['verify_html_sm3']}",
        f"导出收据 / receipt of the export: {value['receipt'] or '—'}",
        "核对 / verify: python3 verify.py PACKAGE.zip --trust TRUST.json",
    ]
    return lines


__all__ = ["export"]
