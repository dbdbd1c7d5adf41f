"""lease export|prove, meter verify|reconcile: a lease as one file, and what it shows without a node. docs/protocols/sandbox.md section 14.1."""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from workbench.commands.common import Options, client_for, credentials, print_result, workspace_of, write_private
from workbench.crypto import sm2, sm3
from workbench.domain.envelope import parse_envelope
from workbench.domain.party import PartyId, Role
from workbench.errors import Refused, VerificationError
from workbench.node.trust import parse_trust

MARKS = {"ok": "✓", "not-proven": "?", "failed": "✗"}
AREA = "inference."
TRIES = 5
METER_STEPS = ("keys", "ticks", "statement")
ERASE_STEPS = ("keys", "evidence", "erased")
PRICE = ("订单未经核对：价格按凭证里的订单；用 lease prove --package 核对", "the order was not checked: the price is that of the order in the file; lease prove --package checks it")
UNSHOWN = (
    ("脱敏是否找全：只能看到替换了几处；提问与回答的原文须另外导出", "whether redaction found everything: only how much was replaced; the texts are exported by themselves"),
    ("内存里的字节何时被覆盖：收据是算力方对其所查的声明；级别 process、gvisor 下算力方如果想看，就看得到", "when bytes in memory were overwritten: a receipt states what was looked at; at levels process and gvisor the provider can read this if it wants to"),
    ("时间是否准确：各自的时钟", "whether times are right: each signer's own clock"),
)


def export(options: Options) -> int:
    """Write the lease file of one institution."""
    role = Role.PROVIDER_OPERATOR if options.party in workspace_of(options).providers else Role.OPERATOR
    with client_for(workspace_of(options), options.party, role) as client:
        for _ in range(TRIES):
            first = client.call("inference.lease_file", lease=options.lease)
            parts = [first, *(client.call("inference.lease_file", lease=options.lease, part=number) for number in range(1, first["parts"]))]
            data = b"".join(base64.b64decode(one["data"]) for one in parts)
            if sm3.digest(data).hex() == first["sm3"]:
                break
        else:  # a tick came between two parts, five times
            raise Refused("租约还在计量，没有取到一致的凭证；请重试或在结束后再取", "The lease is being metered and its file changed while it was read; try again, or when it is over", code="LEASE_FILE")
    write_private(Path(options.out), data)
    value = {"lease": options.lease, "party": options.party, "out": options.out, "size": len(data), "sm3": first["sm3"]}
    print_result(options, value, [f"{options.out}：{len(data):,} 字节 bytes，SM3 {first['sm3']}", "核验 check: workbench lease prove FILE --trust KEYS.json --package ZIP --history FILE"])
    return 0


def history(options: Options) -> int:
    """Write the history of asks, with its receipt, as compliance; identifiers stay labels."""
    workspace = workspace_of(options)
    _, password = credentials(workspace, options.party, Role.COMPLIANCE)
    with client_for(workspace, options.party, Role.COMPLIANCE) as client:
        made = client.confirmed("inference.history_export", password=password)
        write_private(Path(options.out), client.download(made["download"]))
    value = {"out": options.out, "count": made["count"], "receipt": made["receipt"]}
    print_result(options, value, [f"{options.out}：{made['count']} 问 asks，收据 receipt SM3 {made['receipt']}"])
    return 0


def prove(options: Options) -> int:
    """All that a lease file shows, with the evidence package and the history that belong to it; exit status 2 unless all of it holds."""
    file, pinned = _file(options.file), contracts(options.trust)
    found = formats_of("proving").prove(file, pinned)
    entries: list[Any] = []
    beyond = formats_of("proving_entries")
    verdict = ""
    if options.package:
        verdict, entries = _package(options, file)
        beyond.prove_entries(file, found, entries)
    if options.history:
        beyond.prove_history(file, found, entries, read_file(options.history), pinned)
    return _told(options, file, found.steps, {"package": verdict, "entries": len(entries), "asks": sum(one.kind == "asked" for one in entries)}, unshown=UNSHOWN)


def meters(options: Options) -> int:
    """Ticks and statement of a lease file; exit status 2 unless both ends signed them, they add up and the statement follows."""
    file = _file(options.file)
    found = formats_of("proving").prove(file, contracts(options.trust))
    agreed = sum(one.agreed_card_seconds for one in found.ticks)
    value = {
        "ticks": len(found.ticks), "card_seconds": sum(one.tick.card_seconds for one in found.ticks), "agreed_card_seconds": agreed,
        "differing": sum(one.differs for one in found.ticks), "amount_fen": found.statement.amount_fen if found.statement else None,
    }  # fmt: skip
    return _told(options, file, _named(found.steps, METER_STEPS), value, unshown=(PRICE,))


def erased(options: Options) -> int:
    """Erase receipts of a lease file; exit status 2 unless every server of its evidence has a clean one."""
    if not options.trust:
        raise Refused("核验租约凭证须给出 --trust KEYS.json（信任文件）", "A lease file is checked with --trust KEYS.json, a trust file", code="NO_KEY")
    file = _file(options.file)
    found = formats_of("proving").prove(file, contracts(options.trust))
    value = {"receipts": len(found.receipts), "clean": sum(one.clean for one in found.receipts), "servers": sorted({one.server for one in found.receipts})}
    return _told(options, file, _named(found.steps, ERASE_STEPS), value, unshown=UNSHOWN[1:2])


def reconcile(options: Options) -> int:
    """The lease files of both ends beside each other; exit status 2 unless each holds and they say the same."""
    formats, pinned = formats_of("proving"), contracts(options.trust)
    files = [_file(one) for one in (options.file, options.other)]
    if files[0].party == files[1].party:
        raise Refused("两份凭证出自同一家机构，无从对账", "Both files are of one institution: there is nothing to compare", code="BAD_REQUEST")
    steps: list[Any] = []
    for file in files:
        for one in _named(formats.prove(file, pinned).steps, METER_STEPS):
            one.zh, one.en = f"{file.party}：{one.zh}", f"{file.party}: {one.en}"
            steps.append(one)
    same = formats.Step("same", "双方凭证中的计量、对账单与收据逐字节相同", "ticks, statement and receipts are the same bytes in both files")
    for zh, en in formats.compare(*files):
        same.bad(zh, en)
    return _told(options, files[0], [*steps, same], {"parties": [str(one.party) for one in files], "differences": len(same.problems)})


# ---------------------------------------------------------------- inside


def formats_of(name: str) -> Any:  # Any: a module of a package beside the host, which this program does not know
    """A module of the sandbox's formats."""
    try:
        return import_module(f"workbench_sandbox.formats.{name}")
    except ImportError as error:
        raise Refused("没有安装沙箱的软件包", "The package of the sandbox is not installed", code="NOT_INSTALLED") from error


def is_lease_file(data: bytes) -> bool:
    """Whether these bytes are meant as a lease file."""
    return bool(formats_of("leasefile").is_lease_file(data))


def contracts(name: str) -> dict[PartyId, sm2.PublicKey]:
    """Pinned contract keys of a trust file."""
    try:
        return {party: one.contract_key for party, one in parse_trust(read_file(name)).items()}
    except VerificationError as error:
        raise Refused(
            f"「{Path(name).name}」不是信任文件。用 workbench trust export 导出，或向各机构合规岗索取",
            f"{Path(name).name} is no trust file. Make one with workbench trust export, or ask each institution's compliance", code="TRUST_FILE",
        ) from error


def read_file(name: str) -> bytes:
    """The bytes of a file. Raises Refused NO_FILE."""
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise Refused(f"读不了文件「{Path(name).name}」", f"Cannot read {Path(name).name}", code="NO_FILE") from error


def _file(name: str) -> Any:
    return formats_of("leasefile").parse_lease_file(read_file(name))


def _package(options: Options, file: Any) -> tuple[str, list[Any]]:
    """(verdict, entries of the lease) of a package, once its own verifier took it under the same trust file."""
    path = Path(options.package)
    verifier, forms = import_module("workbench_ledger.package.verifier.main"), import_module("workbench_ledger.package.verifier.formats")
    try:
        result = verifier.verify(path, forms.parse_trust(read_file(options.trust)), [], None)
    except (OSError, forms.Bad) as error:
        raise Refused(f"读不了证据包「{path.name}」", f"Cannot read the package {path.name}", code="NO_FILE") from error
    if result["verdict"] not in ("OK", "NOT_FINAL"):
        raise VerificationError(f"证据包不成立：{result['zh']}", f"The package does not hold: {result['en']}", code="PACKAGE_REFUSED")
    entries = list(_entries(_members(path), formats_of("proving_entries").Entry, file.order.lease))
    return str(result["verdict"]), entries


def _members(path: Path) -> dict[str, bytes]:
    if path.is_dir():
        return {one.relative_to(path).as_posix(): one.read_bytes() for one in path.rglob("*.json")}
    with zipfile.ZipFile(path) as file:
        return {one: file.read(one) for one in file.namelist() if one.startswith(("entries/", "openings/"))}


def _entries(members: Mapping[str, bytes], made: Any, lease: str) -> Iterator[Any]:
    for name, body in members.items():
        if not name.startswith("entries/"):
            continue
        envelope = parse_envelope(body)
        if envelope.job != lease or not envelope.kind.startswith(AREA):
            continue
        _, log, number = name.split("/")
        opened = json.loads(members.get(f"openings/{log}/{number}", b'{"fields":{}}'))["fields"]
        yield made(
            PartyId(log), int(number.removesuffix(".json")), envelope.time_ms, envelope.kind.removeprefix(AREA), envelope.shared,
            {field: str(one["value"]) for field, one in opened.items()},
        )  # fmt: skip


def _named(steps: Sequence[Any], names: Sequence[str]) -> list[Any]:
    return [one for one in steps if one.name in names]


def _told(options: Options, file: Any, steps: Sequence[Any], more: Mapping[str, Any], *, unshown: Sequence[tuple[str, str]] = ()) -> int:
    states = {one.state for one in steps}
    verdict = "failed" if "failed" in states else "not-proven" if "not-proven" in states or more.get("package") == "NOT_FINAL" else "ok"
    value = {
        "verdict": verdict, "lease": file.order.lease, "party": file.party, "tenant": file.order.tenant, "provider": file.order.provider, **more,
        "steps": [
            {"name": one.name, "state": one.state, "zh": one.zh, "en": one.en, "problems": [{"zh": zh, "en": en} for zh, en in one.problems], "open": [{"zh": zh, "en": en} for zh, en in one.open]}
            for one in steps
        ],
        "unshown": [{"zh": zh, "en": en} for zh, en in unshown],
    }  # fmt: skip
    lines = []
    for one in steps:
        lines.append(f"{MARKS[one.state]} {one.zh} / {one.en}")
        lines += [f"    {zh} / {en}" for zh, en in (*one.problems, *one.open)]
    if unshown:
        lines += ["", "文件不能证明的 / what files cannot show:", *(f"  - {zh} / {en}" for zh, en in unshown)]
    word = {"ok": "全部成立 / all of it holds", "not-proven": "没有不符，但有未能证明的 / nothing fails, some is not proven", "failed": "不成立 / it does not hold"}[verdict]
    print_result(options, value, [f"{file.order.lease}  {file.order.tenant} ← {file.order.provider}", *lines, "", word])
    return 0 if verdict == "ok" else 2


__all__ = ["contracts", "erased", "export", "formats_of", "history", "is_lease_file", "meters", "prove", "read_file", "reconcile"]
