"""lease, models, meter and erase list|verify: each verb is one operation; verify needs nothing but a file and a key."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from workbench.clock import SHANGHAI
from workbench.commands import proofs
from workbench.commands.common import Options, client_for, credentials, print_result, workspace_of, write_private
from workbench.commands.proofs import formats_of, is_lease_file, read_file
from workbench.crypto import sm2
from workbench.domain.party import PartyId, Role
from workbench.errors import NotFound, Refused, VerificationError

KEY_FILE = "contract-key.txt"
WAIT_S = 330.0
"""A receipt that has not come after five minutes makes the lease unproven."""


# ---------------------------------------------------------------- leases


def offer(options: Options) -> int:
    """What could be leased now."""
    reply = _call(options, "inference.offer")
    lines = [f"{reply['provider']}：{_yuan(reply['fen_per_card_minute'])} 元/卡·分 a card-minute，约 {reply['ready_s']} 秒就绪 ready in about"]
    lines += [f"{one['pool']}：现有 free {one['free']}，至多 at most {one['most_cards']}" for one in reply["pools"]]
    lines += [f"冻结 freeze {_time(start)} → {_time(stop)}" for start, stop in reply["freezes"]]
    return _told(options, reply, lines)


def order(options: Options) -> int:
    """Order a lease; exit status 2 where the provider refuses."""
    request = {
        "image": options.image, "cards": options.cards, "most_cards": options.most, "hours": options.hours, "pool": options.pool, "mode": options.mode,
        "assurance": options.assurance, "budget_fen": options.budget_fen, "idle_s": options.idle_s, "keep": not options.erase_image, "reason": options.reason,
    }  # fmt: skip
    reply = _confirmed(options, "inference.lease_order", **request)
    _told(options, reply, [f"{reply['lease']}  {reply['state']}{' ' + reply['code'] if reply['code'] else ''}  至 until {_time(reply['until_ms'])}"])
    return 2 if reply["state"] == "REFUSED" else 0


def listed(options: Options) -> int:
    """Leases, the newest first."""
    reply = _call(options, "inference.leases", state=options.state)
    return _told(options, reply, [_lease(one) for one in reply["leases"]] or ["没有租约 / no lease"])


def show(options: Options) -> int:
    """One lease."""
    reply = _call(options, "inference.lease", lease=options.lease)
    lines = [_lease(reply["lease"]), f"订单 order SM3 {reply['digest']}"]
    lines += [f"{one['server']}  {one['sandbox']}  证据 evidence {one['serial']}  {one['cause'] or one['state']}" for one in reply["sandboxes"]]
    lines += [f"变更 change {one['number']}：{one['cards']} 卡 cards，至 until {_time(one['until_ms'])}" for one in reply["changes"]]
    return _told(options, reply, lines)


def change(options: Options) -> int:
    """Other cards, or a later end."""
    request: dict[str, Any] = {"lease": options.lease, "cards": options.cards, "reason": options.reason}
    if options.extend_minutes:
        request["until_ms"] = _call(options, "inference.lease", lease=options.lease)["lease"]["until_ms"] + options.extend_minutes * 60_000
    reply = _call(options, "inference.lease_change", **request)
    return _told(options, reply, [f"{reply['lease']}  {reply['cards']} 卡 cards，至 until {_time(reply['until_ms'])}"])


def release(options: Options) -> int:
    """Give a lease back; with --wait exit status 2 unless every receipt came and is clean."""
    reply = _call(options, "inference.lease_release", lease=options.lease, reason=options.reason)
    ends = time.monotonic() + WAIT_S
    while options.wait and reply["state"] in ("RELEASING", "RUNNING") and time.monotonic() < ends:
        time.sleep(0.5)
        found = _call(options, "inference.lease", lease=options.lease)["lease"]
        reply = {name: found[name] for name in ("lease", "state", "receipts", "servers")}
    _told(options, reply, [f"{reply['lease']}  {reply['state']}  收据 receipts {reply['receipts']}/{reply['servers']}"])
    return 2 if options.wait and reply["state"] != "ERASED" else 0


def probe(options: Options) -> int:
    """The probe suite of each sandbox of a lease, now; exit status 2 where something was not refused."""
    reply = _call(options, "inference.probe", lease=options.lease)
    lines = []
    for one in reply["sandboxes"]:
        failed = f"，未被拒绝 not refused: {' '.join(one['failed'])}" if one["failed"] else ""
        lines.append(f"{one['sandbox']}  被拒绝 refused {one['refused']}/{one['tried']}{failed}")
    _told(options, reply, lines)
    return 0 if reply["is_refused"] else 2


def servers(options: Options) -> int:
    """Servers and what state each is in."""
    reply = _call(options, "inference.servers")
    lines = [f"{one['server']}  {one['state']}  {one['pool']}  {one['lease'] or one['cause'] or '—'}" for one in reply["servers"]]
    return _told(options, reply, lines or ["没有服务器 / no server"])


def scaling(options: Options) -> int:
    """Decisions of the scaler."""
    reply = _call(options, "inference.scaling")
    lines = [f"{_time(one['time_ms'])}  {one['before']} → {one['after']}  {one['zh']}\n    {one['en']}" for one in reply["decisions"]]
    return _told(options, reply, lines or ["还没有扩缩 / nothing was scaled yet"])


def schedule(options: Options) -> int:
    """Set the calendar."""
    request = {
        "peak": options.peak, "opens_at": options.opens_at, "release_at": options.release_at, "is_on": not options.off, "image": options.image, "most_cards": options.most,
        "reason": options.reason,
    }  # fmt: skip
    reply = _confirmed(options, "inference.schedule_set", **request)
    return _told(options, reply, [f"排期 calendar {reply['state']}"])


# ---------------------------------------------------------------- erase receipts


def erasures(options: Options) -> int:
    """Receipts; exit status 2 while one is missing or has residue. --out: their bytes and the key that checks them."""
    reply = _call(options, "inference.erasures", lease=options.lease)
    lines = [
        f"{one['lease']}  {one['server']}  {one['state']}  {_time(one['received_ms'] or one['since_ms'])}  {one['digest'][:16]}" for one in reply["erasures"]
    ]
    if options.out:
        folder = Path(options.out)
        folder.mkdir(parents=True, exist_ok=True)
        for one in reply["erasures"]:
            if one["state"] != "missing":
                found = _call(options, "inference.erasures", lease=one["lease"], server=one["server"])
                write_private(folder / f"{one['lease']}-{one['server']}.receipt", base64.b64decode(found["receipt"]))
                write_private(folder / KEY_FILE, found["contract_key"].encode() + b"\n")
    _told(options, reply, lines or ["没有收据 / no receipt"])
    return 2 if reply["residue"] or reply["missing"] else 0


def verify(options: Options) -> int:
    """Hold a receipt against the provider's contract key; exit status 2 when it does not hold or is not clean."""
    path = Path(options.file)
    written = read_file(options.file)
    if is_lease_file(written):
        return proofs.erased(options)
    key = options.key or (_trusted(options) if options.trust else "")
    beside = path.with_name(KEY_FILE)
    if not key and beside.is_file():
        key = beside.read_text("ascii").strip()
    if not key:
        raise Refused(
            "要核验须给出算力方的合同公钥：--key 或 --trust。公钥应来自双方交换的信任文件，不来自收据旁边的人", "The provider's contract key is needed: --key or --trust. It should come from the exchanged trust file",
            code="NO_KEY",
        )  # fmt: skip
    formats = formats_of("erasing")
    claimed, _, _ = formats.parse_receipt(written)
    provider = PartyId(options.provider or claimed.provider)
    try:
        receipt, service = formats.verify_receipt(written, provider=provider, contract_key=sm2.PublicKey.parse(key), known=None)
    except ValueError as error:
        raise VerificationError("合同公钥的写法不对", "The contract key is malformed", code="NO_KEY") from error
    told: dict[str, Any] = {
        "holds": True, "clean": receipt.clean, "provider": receipt.provider, "tenant": receipt.tenant, "lease": receipt.lease, "server": receipt.server,
        "sandboxes": list(receipt.sandboxes), "reason": receipt.reason, "began_ms": receipt.began_ms, "ended_ms": receipt.ended_ms, "assurance": receipt.assurance,
        "checks": {one.name: one.found for one in receipt.checks}, "kept": list(receipt.kept), "digest": receipt.digest, "service_key": service.digest,
    }  # fmt: skip
    found = "，".join(f"{one.name} {one.found}" for one in receipt.checks if one.found)
    word = "干净 clean" if receipt.clean else f"有残留 residue: {found}"
    lines = [
        f"签名成立 the signature holds：{receipt.provider} → {receipt.tenant}，{receipt.lease}，{receipt.server}", f"{word}，{_time(receipt.ended_ms)}，{receipt.assurance}",
        "收据是签名方对其所查的声明 / a receipt is the signer's statement about what was looked at",
    ]  # fmt: skip
    _told(options, told, lines)
    return 0 if receipt.clean else 2


# ---------------------------------------------------------------- images


def models(options: Options) -> int:
    """Images and engines."""
    reply = _call(options, "inference.models")
    return _told(options, reply, [*(_image(one) for one in reply["images"]), *(f"可签署 can be signed: {one}" for one in reply["recipes"])] or ["没有 / none"])


def model(options: Options) -> int:
    """One image."""
    found = [one for one in _call(options, "inference.models")["images"] if one["id"].startswith(options.image)]
    if len(found) != 1:
        raise NotFound("没有或不止一个这样的镜像", "No such image, or more than one", code="NO_IMAGE")
    one = found[0]
    lines = [_image(one), f"引擎 engine {one['engine']} {one['engine_kind']} {one['engine_version']} {one['place']}", f"运行环境 runtime {one['runtime']}"]
    return _told(options, one, [*lines, *one["licences"]])


def sign(options: Options) -> int:
    """Sign the manifest of an engine that is installed."""
    request = {name: getattr(options, name) for name in ("engine", "name", "version", "runtime", "program", "licence")}
    reply = _confirmed(options, "inference.model_sign", **request)
    return _told(options, reply, [_image(reply)])


# ---------------------------------------------------------------- meters


def meters(options: Options) -> int:
    """Sums of a lease; exit status 2 while ticks differ."""
    reply = _call(options, "inference.meters", lease=options.lease, limit=1)
    _told(
        options, reply,
        [f"{reply['count']} 条 ticks，{reply['card_seconds']} 卡·秒 card-seconds，一致 agreed {reply['agreed_card_seconds']}，不一致 differing {reply['differing']}"],
    )  # fmt: skip
    return 2 if reply["differing"] else 0


def ticks(options: Options) -> int:
    """Ticks, the newest first."""
    reply = _call(options, "inference.meters", lease=options.lease, limit=options.limit)
    lines = [f"#{one['number']}  {one['from_s']}–{one['to_s']} s  {one['cards']} 卡  {one['card_seconds']} 卡·秒  {one['state']} {one['reason']}".rstrip() for one in reply["ticks"]]
    return _told(options, reply, lines or ["还没有计量 / no meter yet"])


def statement(options: Options) -> int:
    """Statements of a month."""
    reply = _call(options, "inference.statements", month=options.month)
    return _told(options, reply, [_statement(one) for one in reply["statements"]] or ["没有对账单 / no statement"])


def invoice(options: Options) -> int:
    """The invoice over the statements of a month; exit status 2 while one is open."""
    reply = _call(options, "inference.statements", month=options.month)
    lines = [*(_statement(one) for one in reply["statements"]), f"{reply['month']}  {reply['card_minutes']} 卡·分 card-minutes  ¥{reply['amount_yuan']}"]
    _told(options, reply, lines)
    return 2 if reply["open"] else 0


def settle(options: Options) -> int:
    """Propose, or confirm as another person, what a difference is settled at."""
    role = Role(options.role)
    reply = _confirmed(options, "inference.settle", role=role, lease=options.lease, card_seconds=options.card_seconds, reason=options.reason)
    return _told(options, reply, [f"{reply['lease']}  {reply['state']}  {reply['card_seconds']} 卡·秒  ¥{_yuan(reply['amount_fen'])}"])


def costs(options: Options) -> int:
    """What the last days cost."""
    reply = _call(options, "inference.costs", days=options.days)
    lines = [f"{one['day']}  ¥{_yuan(one['amount_fen'])}  常开 always on ¥{_yuan(one['always_fen'])}  {one['card_seconds']} 卡·秒  {one['asks']} 问 asks" for one in reply["days"]]
    lines.append(f"合计 total ¥{_yuan(reply['amount_fen'])}，比常开省 saved {reply['saved_permille'] / 10:.1f} %")
    return _told(options, reply, lines)


# ---------------------------------------------------------------- inside


def _role(options: Options) -> Role:
    """Whose operators: the provider's own, or the institution's."""
    return Role.PROVIDER_OPERATOR if options.party in workspace_of(options).providers else Role.OPERATOR


def _call(options: Options, operation: str, **request: Any) -> dict[str, Any]:
    with client_for(workspace_of(options), options.party, _role(options)) as client:
        return dict(client.call(operation, **request))


def _confirmed(options: Options, operation: str, *, role: Role | None = None, **request: Any) -> dict[str, Any]:
    who = role or _role(options)
    _, password = credentials(workspace_of(options), options.party, who)
    with client_for(workspace_of(options), options.party, who) as client:
        return dict(client.confirmed(operation, password=password, **request))


def _told(options: Options, value: Mapping[str, Any], lines: Sequence[str]) -> int:
    print_result(options, value, list(lines))
    return 0


def _lease(one: Mapping[str, Any]) -> str:
    needs = f"  ! {one['needs']}" if one["needs"] else ""
    if one.get("silent_s"):
        needs += f"  ! 算力方没有应答，以上是 {one['silent_s']} 秒前的情形 the provider does not answer, this is as of {one['silent_s']} s ago"
    return (
        f"{one['lease']}  {one['state']}{' ' + one['cause'] if one['cause'] else ''}  {one['partner']}  {one['pool']}  {one['ready']}/{one['cards']} 卡 cards  "
        f"{one['card_seconds']} 卡·秒  ¥{_yuan(one['amount_fen'])}  收据 receipts {one['receipts']}/{one['servers']}{needs}"
    )


def _image(one: Mapping[str, Any]) -> str:
    return f"{one['id']}  {one['name']} {one['version']}  {one['engine_kind']}  {one['files']} 文件 files  {one['bytes']} B  {one['state']}"


def _statement(one: Mapping[str, Any]) -> str:
    word = "一致 agreed" if one["agreed"] else "已商定 settled" if one["settled_card_seconds"] >= 0 else f"不一致 differs {' '.join(one['differences'])}".rstrip()
    return f"{one['lease']}  {one['card_seconds']} 卡·秒，一致 agreed {one['agreed_card_seconds']}  ¥{_yuan(one['amount_fen'])}  {word}"


def _yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02d}"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, SHANGHAI).strftime("%m-%d %H:%M:%S")


def _trusted(options: Options) -> str:
    """The provider's contract key in a trust file, or the one that a file of its own holds."""
    data = read_file(options.trust)
    if not data.startswith(b"{"):
        return data.decode("ascii", "replace").strip()
    receipt, _, _ = formats_of("erasing").parse_receipt(read_file(options.file))
    pinned = proofs.contracts(options.trust).get(PartyId(options.provider or receipt.provider))
    return pinned.format() if pinned is not None else ""


__all__ = [
    "change", "costs", "erasures", "invoice", "listed", "meters", "model", "models", "offer", "order", "release", "scaling", "schedule", "servers", "settle", "show",
    "sign", "statement", "ticks", "verify",
]  # fmt: skip
