"""What operations of leases, meters, servers and images answer, for the pages `leases` and `provider` and for the commands alike.

Times in ms since 1970 UTC, 0 for never; money in fen, whole; card-seconds whole; digests hexadecimal. Samples with plausible
values: tests/inference/lease_samples.py. The provider's own replies hold sizes, counts and states, never a text.
"""

from __future__ import annotations

from typing import Final

from workbench.operations import Reply

LEASE_STATES: Final = ("ORDERED", "REFUSED", "RUNNING", "RELEASING", "ERASED", "UNPROVEN")
SERVER_STATES: Final = ("DIRTY", "SANITISED", "READY", "LEASED")
TICK_STATES: Final = ("open", "agreed", "differs")


# ---------------------------------------------------------------- leases


class PoolTold(Reply):
    """What could be had now. pool: shared or dedicated; free: cards; most_cards: the most of one order."""

    pool: str
    free: int
    most_cards: int


class OfferReply(Reply):
    """operation inference.offer. images: of this institution that the provider has pulled; ready_s: until a card answers."""

    provider: str
    pools: list[PoolTold]
    assurance: list[str]
    images: list[str]
    fen_per_card_minute: int
    ready_s: int
    retry_after_s: int
    freezes: list[tuple[int, int]]


class SandboxTold(Reply):
    """A sandbox of a lease. state: of its server; statement: SM3 of its last evidence, "" before the first; missing: controls not on.

    frames, bytes: ciphertext that went through, both directions; 0 at a tenant.
    """

    server: str
    sandbox: str
    state: str
    serial: int
    statement: str
    assurance: str
    missing: list[str]
    session: str
    started_ms: int
    ended_ms: int
    cause: str
    bytes_in: int
    bytes_out: int


class LeaseTold(Reply):
    """A lease as this end knows it.

    partner: the other end; image_name: "name version", "" where it is unknown here; code: of a refusal; cause: why it ended.
    left_s: seconds to its end while it runs. card_seconds, agreed_card_seconds, amount_fen: metered so far, the amount of what both
    agree on. budget_stage: "", near (80 %) or reached. receipts, servers: clean erase receipts, and servers that owe or owed one.
    needs: "" or what a person should look at: unproven, difference, refused, budget, ending (less than five minutes).
    silent_s: at a tenant, seconds since the provider was last heard of it, where it does not answer: the rest is as it was then; else 0.
    """

    lease: str
    side: str
    partner: str
    state: str
    mode: str
    pool: str
    image: str
    image_name: str
    cards: int
    most_cards: int
    ready: int
    from_ms: int
    until_ms: int
    left_s: int
    started_ms: int
    ended_ms: int
    cause: str
    code: str
    assurance: str
    policy: str
    keep: bool
    card_seconds: int
    agreed_card_seconds: int
    differing: int
    fen_per_card_minute: int
    amount_fen: int
    budget_fen: int
    budget_stage: str
    receipts: int
    servers: int
    needs: str
    silent_s: int = 0


class LeasesReply(Reply):
    """operation inference.leases, newest first. today_fen, budget_fen: of the calendar day in Asia/Shanghai, and of a month.

    live: leases that run. last_night: nodes that were erased after the last release_at, and how many of them with a clean receipt.
    calendar_zh, calendar_en: what the calendar does next, "" without one.
    """

    role: str
    leases: list[LeaseTold]
    live: int
    today_fen: int
    month_fen: int
    budget_fen: int
    last_night_erased: int
    last_night_clean: int
    calendar_zh: str
    calendar_en: str


class ChangeTold(Reply):
    """A change of a lease. at_s: from that second of the lease on, -1 until the provider has said so."""

    number: int
    cards: int
    until_ms: int
    at_s: int
    cause: str


class LeaseReply(Reply):
    """operation inference.lease. order: canonical JSON of the order; digest: its SM3, as entries name it."""

    lease: LeaseTold
    sandboxes: list[SandboxTold]
    changes: list[ChangeTold]
    order: str
    digest: str


class OrderedReply(Reply):
    """operations inference.lease_order and inference.lease_change: the letter is on its way, or answered. code: "" or a refusal."""

    lease: str
    state: str
    code: str
    cards: int
    until_ms: int
    fen_per_card_minute: int


class ReleasedReply(Reply):
    """operation inference.lease_release."""

    lease: str
    state: str
    receipts: int
    servers: int


# ---------------------------------------------------------------- meters


class TickTold(Reply):
    """One meter as signed. own_card_seconds: what this end counted, -1 unless the two differ; reason: seconds, cards, asks, chain, unknown."""

    lease: str
    number: int
    from_s: int
    to_s: int
    cards: int
    card_seconds: int
    total_card_seconds: int
    asks: int
    tokens_in: int
    tokens_out: int
    bytes_in: int
    bytes_out: int
    state: str
    reason: str
    own_card_seconds: int
    digest: str
    at_ms: int


class MetersReply(Reply):
    """operation inference.meters: the newest of them first, and the sums over all."""

    ticks: list[TickTold]
    count: int
    card_seconds: int
    agreed_card_seconds: int
    differing: int


class StatementTold(Reply):
    """Statement of account of a lease. agreed: both ends have the same. settled_card_seconds: -1 unless people settled a difference.

    proposed_by: token of who proposed a settlement that waits for another person, "" for none; proposed_card_seconds: at what, -1 for none.
    """

    lease: str
    partner: str
    ended_ms: int
    ticks: int
    root: str
    card_seconds: int
    agreed_card_seconds: int
    settled_card_seconds: int
    fen_per_card_minute: int
    amount_fen: int
    agreed: bool
    differences: list[str]
    proposed_by: str
    reason: str
    proposed_card_seconds: int = -1


class StatementsReply(Reply):
    """operation inference.statements: statements of a month 'yyyy-mm' and the invoice over them; card_minutes: two decimals, rounded down."""

    month: str
    statements: list[StatementTold]
    card_seconds: int
    card_minutes: str
    amount_fen: int
    amount_yuan: str
    open: int


class SettledReply(Reply):
    """operation inference.settle. state: proposed (another person confirms), settled. amount_fen: for these card-seconds."""

    lease: str
    state: str
    card_seconds: int
    amount_fen: int


class LeaseFileReply(Reply):
    """operation inference.lease_file. data: base64 of one part; sm3, size: of the whole, which a lease that runs changes."""

    lease: str
    parts: int
    size: int
    sm3: str
    data: str


# ---------------------------------------------------------------- erasing


class CheckTold(Reply):
    """One check of a receipt and what it found."""

    name: str
    found: int
    how: str


class ErasureTold(Reply):
    """An erase receipt as written. state: clean, residue, or missing (since_ms: for how long it has been waited for)."""

    lease: str
    server: str
    sandboxes: list[str]
    state: str
    reason: str
    began_ms: int
    ended_ms: int
    assurance: str
    checks: list[CheckTold]
    kept: list[str]
    digest: str
    received_ms: int
    since_ms: int


class ErasuresReply(Reply):
    """operation inference.erasures, newest first; receipt of one as base64 for `workbench erase verify`, "" in a list."""

    erasures: list[ErasureTold]
    clean: int
    residue: int
    missing: int
    receipt: str
    contract_key: str


# ---------------------------------------------------------------- servers and scaling


class ServerTold(Reply):
    """One card. pool: shared, or dedicated to tenant; lease, sandbox: while LEASED; cause: why it is in this state."""

    server: str
    state: str
    pool: str
    dedicated: str
    tenant: str
    image: str
    lease: str
    sandbox: str
    is_drained: bool
    changed_ms: int
    cause: str
    asks: int
    bytes_in: int
    bytes_out: int


class FreezeTold(Reply):
    """A stretch in which nothing new is leased."""

    freeze: int
    from_ms: int
    until_ms: int
    reason: str


class ServersReply(Reply):
    """operation inference.servers. At a tenant: the servers that hold its leases, as the provider says. assurance: levels that can be had.

    At a provider also what it offers. pools: of all tenants together; ready_s: until a card answers; programs: servers that may be
    started inside a sandbox here; images: how many are here with every byte checked.
    """

    servers: list[ServerTold]
    dirty: int
    sanitised: int
    ready: int
    leased: int
    assurance: list[str]
    freezes: list[FreezeTold]
    fen_per_card_minute: int
    tariff_since_ms: int
    pools: list[PoolTold] = []
    ready_s: int = 0
    programs: list[str] = []
    images: int = 0


class DecisionTold(Reply):
    """A decision about the number of cards and why, by the rule or by a person.

    scaler: `processes` for cards of the lease, else who set servers outside; code: what the provider refused it with, "" where it did not.
    """
    number: int
    lease: str
    time_ms: int
    before: int
    after: int
    queue: int
    rule: str
    zh: str
    en: str
    scaler: str = "processes"
    code: str = ""


class LoadPoint(Reply):
    """A point of the curve: cards and waiting asks at an instant."""

    time_ms: int
    cards: int
    queue: int


class CardsTold(Reply):
    """What was answered with so many cards in service, from signed meters. most, mean: answers a minute, of the fullest stretch of about a
    minute and of all `stretches` in which anything was answered."""

    cards: int
    stretches: int
    seconds: int
    asks: int
    most: int
    mean: int


class CalendarTold(Reply):
    """The calendar in force, and what it orders: image "" where it orders nothing yet. Times HH:MM in Asia/Shanghai, days 1 to 7."""

    is_on: bool
    peak: list[str]
    opens_at: str
    release_at: str
    days: list[int]
    closed: list[str]
    peak_cards: int
    other_cards: int
    image: str
    most_cards: int
    pool: str
    budget_fen: int


class ScalingReply(Reply):
    """operation inference.scaling: decisions newest first, the curve oldest first, and the rule that decides.

    asks_hour: questions that ended within the last hour; of them p95_ms: 95 of 100 took no longer, from asking to the end; and
    asks_per_card_minute: what one card gets through in a minute, by the card time they took. 0 without any.
    outside: leases whose questions a scaler other than `processes` counts; cards of the others follow their own queue all the same.
    by_cards: of all leases, the newest meters: how answers grew with cards.
    """

    scaler: str
    decisions: list[DecisionTold]
    curve: list[LoadPoint]
    least: int
    most: int
    queue_per_server: int
    cooldown_s: int
    start_delay_s: int
    wait_s: int
    calendar: str
    is_scheduled: bool
    schedule: CalendarTold | None = None
    asks_hour: int = 0
    p95_ms: int = 0
    asks_per_card_minute: int = 0
    outside: list[str] = []
    by_cards: list[CardsTold] = []


class CostTold(Reply):
    """What a day cost beside the day's most cards running without a break."""

    day: str
    card_seconds: int
    amount_fen: int
    always_fen: int
    asks: int
    most_cards: int


class CostsReply(Reply):
    """operation inference.costs, oldest first. saved_permille: of the always-on price, in thousandths. by_lease: of the last day shown."""

    from_ms: int
    until_ms: int
    days: list[CostTold]
    card_seconds: int
    amount_fen: int
    always_fen: int
    saved_permille: int
    budget_fen: int
    budget_stage: str
    fen_per_ask: int


# ---------------------------------------------------------------- images and keys


class ImageTold(Reply):
    """An image. state: at a tenant signed; at a provider pulling, ready, refused. licences: "file: licence (source)"."""

    id: str
    tenant: str
    name: str
    version: str
    engine: str
    engine_kind: str
    engine_version: str
    place: str
    program: str
    files: int
    bytes: int
    weights: list[str]
    licences: list[str]
    runtime: str
    memory_bytes: int
    state: str
    made_ms: int


class ImagesReply(Reply):
    """operation inference.models: images, newest first; recipes: "name kind version" of engines that could be signed here; programs: servers
    that setting inference.programs defines, which an image of kind upstream may start inside its sandbox."""

    images: list[ImageTold]
    recipes: list[str]
    programs: list[str] = []


class DoneReply(Reply):
    """What was done, to what: for operations that answer nothing else. state: after it."""

    what: str
    state: str


class ServiceKeyTold(Reply):
    """A service key as it is kept here. number: 1, 2 … of its institution; digest: SM3 of its statement; is_newest: signs now, while it is valid."""

    party: str
    number: int
    digest: str
    from_ms: int
    until_ms: int
    is_newest: bool


class ServiceKeysReply(Reply):
    """operation inference.service_keys: own ones and those of partners, the newest of each institution first. now_ms: the node's clock."""

    party: str
    keys: list[ServiceKeyTold]
    now_ms: int


class ServiceKeyReply(Reply):
    """operation inference.service_key_make. number: 1, 2 … of this institution; digest: SM3 of its statement."""

    party: str
    number: int
    digest: str
    from_ms: int
    until_ms: int


__all__ = [
    "LEASE_STATES", "SERVER_STATES", "TICK_STATES", "CardsTold", "ChangeTold", "CheckTold", "CostTold", "CostsReply", "DecisionTold", "DoneReply",
    "ErasureTold", "ErasuresReply", "FreezeTold", "ImageTold", "ImagesReply", "LeaseReply", "LeaseTold", "LeasesReply", "LoadPoint",
    "MetersReply", "OfferReply", "OrderedReply", "PoolTold", "ReleasedReply", "SandboxTold", "ScalingReply", "ServerTold", "ServersReply",
    "ServiceKeyReply", "SettledReply", "StatementTold", "StatementsReply", "TickTold",
]  # fmt: skip
