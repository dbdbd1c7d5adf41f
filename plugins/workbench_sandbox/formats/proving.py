"""What of a lease can be shown from files alone, years later and without a node: docs/protocols/sandbox.md section 14.1.

Pure. A step holds, fails, or is not proven because a file that it needs was not given; each says which part it is about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from workbench.channel.frame import verify_signed_item
from workbench.crypto import canonical
from workbench.crypto.sm2 import PublicKey
from workbench.domain.party import PartyId
from workbench.errors import VerificationError
from workbench_sandbox.formats import carried, erasing, evidence, metering, reading, servicekey
from workbench_sandbox.formats.leasefile import LeaseFile, SignedEnds, keys_of
from workbench_sandbox.formats.order import Order

OK, FAILED, NOT_PROVEN = "ok", "failed", "not-proven"


@dataclass(slots=True)
class Step:
    """One step. problems: what does not hold; open: what could not be looked at, and which file would show it. Each zh, en."""

    name: str
    zh: str
    en: str
    problems: list[tuple[str, str]] = field(default_factory=list)
    open: list[tuple[str, str]] = field(default_factory=list)

    @property
    def state(self) -> str:
        """OK, FAILED or NOT_PROVEN."""
        return FAILED if self.problems else NOT_PROVEN if self.open else OK

    def bad(self, zh: str, en: str) -> None:
        """Something does not hold."""
        self.problems.append((zh, en))

    def lacks(self, zh: str, en: str) -> None:
        """Something was not there to be looked at."""
        self.open.append((zh, en))


@dataclass(slots=True)
class Proof:
    """What the steps on a lease file found. documents: evidence that holds; ends: SM3 of each end that a sandbox signed."""

    steps: list[Step]
    documents: list[evidence.Evidence] = field(default_factory=list)
    ends: set[str] = field(default_factory=set)
    ticks: list[metering.Answered] = field(default_factory=list)
    statement: metering.Statement | None = None
    receipts: list[erasing.Receipt] = field(default_factory=list)

    @property
    def state(self) -> str:
        """FAILED if a step failed, else NOT_PROVEN if one is, else OK."""
        states = {one.state for one in self.steps}
        return next((one for one in (FAILED, NOT_PROVEN) if one in states), OK)


def prove(file: LeaseFile, contracts: Mapping[PartyId, PublicKey]) -> Proof:
    """All steps on the file itself. contracts: pinned contract key of each end. Cost: 1.5 ms a signed part."""
    found = Proof([])
    step = _step(found, "order", "订单是双方日志里记下的那一份", "the order is the one that both logs name")
    step.lacks("订单的摘要写在双方日志里，价格也在订单里：给出证据包即可核对", "its digest stands in both logs, and the price is in it: give the evidence package")
    _keys(file, contracts, found)
    _documents(file, contracts, found)
    _ends(file, found)
    _ticks(file, found)
    _statement(file, found)
    _receipts(file, contracts, found)
    return found


def _step(found: Proof, name: str, zh: str, en: str) -> Step:
    found.steps.append(Step(name, zh, en))
    return found.steps[-1]


def _keys(file: LeaseFile, contracts: Mapping[PartyId, PublicKey], found: Proof) -> None:
    step = _step(found, "keys", "双方的服务密钥由各自的合同密钥签署并前后相接", "the service keys of both ends are signed by their contract keys and continue one another")
    for party in (file.order.tenant, file.order.provider):
        contract = contracts.get(party)
        if contract is None:
            step.bad(f"信任文件里没有 {party}", f"the trust file has no {party}")
            continue
        known: servicekey.ServiceKey | None = None
        for number, raw in enumerate(file.service_keys.get(party, ()), 1):
            try:
                stated = servicekey.parse_service_key(raw)
                known = servicekey.verify_service_key(raw, party=party, contract_key=contract, known=known, now_ms=stated.from_ms)
            except VerificationError:
                step.bad(f"{party} 的第 {number} 份服务密钥声明不成立", f"service key {number} of {party} does not hold")
        if known is None and file.ticks:
            step.bad(f"没有 {party} 的服务密钥", f"there is no service key of {party}")


def _documents(file: LeaseFile, contracts: Mapping[PartyId, PublicKey], found: Proof) -> None:
    step = _step(found, "evidence", "沙箱证据由沙箱与算力方签署，写的是这份租约与所订的镜像", "the sandboxes' evidence is signed by sandbox and provider, of this lease and the ordered image")
    order, serials, seen = file.order, set[tuple[str, int]](), set[str]()
    for number, raw in enumerate(file.evidence, 1):
        try:
            document = evidence.parse_evidence(raw)
            said = document.statement
            key = servicekey.verify_service_key(document.service, party=order.provider, contract_key=_contract(contracts, order.provider), known=None, now_ms=said.made_ms)
            evidence.verify_signatures(document, service_key=key.key)
        except VerificationError as error:
            step.bad(f"第 {number} 份沙箱证据不成立（{error.code}）", f"evidence {number} does not hold ({error.code})")
            continue
        same = (said.provider, said.tenant, said.lease, said.mode, said.pool, said.image.id) == (
            order.provider, order.tenant, order.lease, order.mode, order.pool, order.image,
        )  # fmt: skip
        on = {one.name for one in said.controls if one.state == "on"}
        level = reading.ASSURANCES.index(said.assurance) >= reading.ASSURANCES.index(order.assurance)
        fresh = (said.sandbox, said.serial) not in serials and seen.isdisjoint(said.keys.members().values())
        checks = (
            (same, "不是这份租约的", "is not of this lease"), (level and set(order.controls) <= on and not said.probe.failed, "控制项或保证级别低于订单", "has fewer controls or a lower level than ordered"),
            (fresh, "序号或密钥重复", "repeats a serial or a key"),
        )  # fmt: skip
        for holds, zh, en in checks:
            if not holds:
                step.bad(f"第 {number} 份沙箱证据{zh}", f"evidence {number} {en}")
        serials.add((said.sandbox, said.serial))
        seen |= set(said.keys.members().values())
        found.documents.append(document)
    if not file.evidence and file.party == order.provider:
        step.lacks("算力方不留沙箱证据：租用方的凭证里有", "a provider keeps no evidence: the tenant's file has it")
    elif not file.evidence:
        step.lacks("还没有沙箱给出证据：头一次提问时才有", "no sandbox gave evidence yet: it comes with the first question")


def _ends(file: LeaseFile, found: Proof) -> None:
    step = _step(found, "ends", "回答的结束记录由沙箱自己的密钥签署", "the ends of answers are signed with the sandboxes' own keys")
    after: dict[str, int] = {}
    under: dict[str, evidence.Evidence] = {}
    by_sandbox: dict[str, list[evidence.Evidence]] = {}
    for document in found.documents:
        by_sandbox.setdefault(document.statement.identity, []).append(document)
    for number, one in enumerate(file.ends, 1):
        try:
            session, value = _signed_ends(file, by_sandbox, under, one)
        except VerificationError:
            step.bad(f"第 {number} 份签名的结束记录不成立", f"signed ends {number} do not hold")
            continue
        if value.first != after.get(session, 0) + 1:
            step.bad(f"第 {number} 份签名的结束记录与前面的不相接", f"signed ends {number} do not continue those before")
        after[session] = value.last
        found.ends |= set(one.ends)
    if not file.ends and file.party == file.order.provider:
        step.lacks("算力方看不到结束记录：租用方的凭证里有", "a provider never sees the ends: the tenant's file has them")
    elif not file.ends:
        step.lacks("还没有沙箱签名的结束记录：最后一问两秒之后才有", "no end is signed yet: that comes two seconds after the last question")


def _signed_ends(
    file: LeaseFile, by_sandbox: Mapping[str, Sequence[evidence.Evidence]], under: dict[str, evidence.Evidence], one: SignedEnds
) -> tuple[str, carried.AnswersSigned]:
    """(session, what was signed). by_sandbox: identity -> its documents; under: session -> the one whose key signs in it, kept here.

    All that costs no signature is looked at first; then only keys of the sandbox that is named are tried, the session's own first.
    """
    value = carried.parse_signed(one.payload)
    refusal = VerificationError("结束记录的签名不成立", "the signature over ends does not hold", code="SIGNED_ITEM")
    said = canonical.parse_object(one.statement)
    sandbox, session = str(said.get("from")), str(said.get("session"))
    named = (said.get("to"), said.get("purpose")) == (file.order.tenant, "answers.signed")
    if not named or len(one.ends) != value.last - value.first + 1 or carried.root_of(one.ends) != value.root:
        raise refusal
    for document in [under[session]] if session in under else by_sandbox.get(sandbox, ()):
        with suppress(VerificationError):
            item = verify_signed_item(one.statement, one.signature, one.payload, key=document.statement.keys.key)
            if item.fields["from"] == document.statement.identity:
                under[session] = document  # one document, one session: its key signs all of it
                return session, value
    raise refusal


def _ticks(file: LeaseFile, found: Proof) -> None:
    step = _step(found, "ticks", "每条计量由算力方签署、由租用方答复签署，首尾相接", "every tick is signed by the provider, answered under the tenant's signature, and continues the one before")
    order = file.order
    theirs, own = ([one.key for one in _known(file, party)] for party in (order.provider, order.tenant))
    before: metering.Tick | None = None
    for number, (raw, reply) in enumerate(file.ticks, 1):
        tick = _tick(raw, order, theirs)
        if tick is None or not metering.follows(tick, before) or tick.cards > order.most_cards:
            step.bad(f"第 {number} 条计量的签名、顺序或卡数不对", f"tick {number} is not signed, out of order or of too many cards")
            return
        before = tick
        if not reply:
            step.lacks(f"第 {number} 条计量没有租用方的答复", f"tick {number} has no answer of the tenant")
            continue
        answer = _reply(reply, tick, order, own)
        if answer is None or len(found.ticks) != number - 1:
            step.bad(f"租用方对第 {number} 条计量的答复不成立", f"the tenant's answer to tick {number} does not hold")
            continue
        found.ticks.append(metering.Answered(tick, metering.agreed_of(tick, answer.view), answer.view is not None))
    if not file.ticks:
        step.lacks("还没有计量", "there is no tick yet")


def _statement(file: LeaseFile, found: Proof) -> None:
    step = _step(found, "statement", "对账单由这些计量得出", "the statement of account follows from these ticks")
    if not file.statement:
        step.lacks("还没有对账单：租约结束后才有", "there is no statement yet: it comes when the lease is over")
        return
    order = file.order
    try:
        found.statement = metering.parse_statement(file.statement)
        own = metering.make_statement(
            [one.tick for one in found.ticks], lease=order.lease, agreed_card_seconds=sum(one.agreed_card_seconds for one in found.ticks),
            fen_per_card_minute=order.tariff.fen_per_card_minute,
        )  # fmt: skip
    except (ValueError, VerificationError):
        step.bad("对账单的格式不对", "the statement is malformed")
        return
    for name in metering.differences(found.statement, own):
        theirs, ours = getattr(found.statement, name), getattr(own, name)
        step.bad(f"{name}：对账单写 {theirs}，由计量算得 {ours}", f"{name}: the statement says {theirs}, the ticks give {ours}")
    if found.statement.lease != order.lease:
        step.bad("是别的租约的对账单", "it is the statement of another lease")


def _receipts(file: LeaseFile, contracts: Mapping[PartyId, PublicKey], found: Proof) -> None:
    step = _step(found, "erased", "每台服务器都有算力方签署、所见为零的擦除收据", "every server has an erase receipt, signed by the provider, that found nothing")
    order, newest = file.order, dict[str, erasing.Receipt]()
    for number, raw in enumerate(file.receipts, 1):
        try:
            receipt, _ = erasing.verify_receipt(raw, provider=order.provider, contract_key=_contract(contracts, order.provider), known=None)
        except VerificationError as error:
            step.bad(f"第 {number} 份擦除收据不成立（{error.code}）", f"receipt {number} does not hold ({error.code})")
            continue
        if (receipt.lease, receipt.tenant) != (order.lease, order.tenant):
            step.bad(f"第 {number} 份擦除收据是别的租约的", f"receipt {number} is of another lease")
            continue
        found.receipts.append(receipt)
        if receipt.server not in newest or receipt.ended_ms >= newest[receipt.server].ended_ms:
            newest[receipt.server] = receipt
    for server, receipt in sorted(newest.items()):
        if not receipt.clean:
            left = "，".join(f"{one.name} {one.found}" for one in receipt.checks if one.found)
            step.bad(f"{server} 的擦除收据写有残留：{left}", f"the receipt of {server} names residue: {left}")
    named = {one for receipt in found.receipts for one in receipt.sandboxes}
    for said in (one.statement for one in found.documents):
        last = newest.get(said.server)
        if last is None:
            step.lacks(f"{said.server} 还没有擦除收据", f"there is no receipt of {said.server} yet")
        elif said.sandbox not in named or last.ended_ms + servicekey.SKEW_MS < said.made_ms:
            step.bad(f"擦除收据里没有沙箱 {said.sandbox}，或早于它的证据", f"no receipt names sandbox {said.sandbox}, or it is older than its evidence")
    if not file.receipts and not found.documents:
        step.lacks("还没有擦除收据", "there is no erase receipt yet")


def compare(one: LeaseFile, other: LeaseFile) -> Iterator[tuple[str, str]]:
    """Where the files of two institutions about one lease say different things of its meters; nothing where they agree."""
    if one.order != other.order:
        yield "两份凭证不是同一份订单", "the two files are not of one order"
        return
    longest = max(len(one.ticks), len(other.ticks))
    for number in range(longest):
        mine, theirs = (file.ticks[number] if number < len(file.ticks) else (b"", b"") for file in (one, other))
        what = [name for name, left, right in (("计量 tick", mine[0], theirs[0]), ("答复 reply", mine[1], theirs[1])) if left != right]
        if what:
            yield f"第 {number + 1} 条：{'、'.join(what)} 不同", f"tick {number + 1} differs: {', '.join(what)}"
    if one.statement != other.statement:
        yield "对账单不同", "the statements of account differ"
    if set(one.receipts) != set(other.receipts):
        yield "擦除收据不同", "the erase receipts differ"


def _known(file: LeaseFile, party: PartyId) -> list[servicekey.ServiceKey]:
    try:
        return keys_of(file, party)
    except VerificationError:
        return []  # the step `keys` has said so


def _contract(contracts: Mapping[PartyId, PublicKey], party: PartyId) -> PublicKey:
    found = contracts.get(party)
    if found is None:
        raise VerificationError(f"信任文件里没有 {party}", f"the trust file has no {party}", code="NO_KEY")
    return found


def _tick(raw: bytes, order: Order, keys: Sequence[PublicKey]) -> metering.Tick | None:
    """The tick, under the first of the provider's keys that fits; None where none does."""
    for key in keys:
        with suppress(VerificationError):
            return metering.verify_tick(raw, provider=order.provider, lease=order.lease, service_key=key)
    return None


def _reply(raw: bytes, tick: metering.Tick, order: Order, keys: Sequence[PublicKey]) -> metering.TickReply | None:
    """The tenant's reply, under the first of its keys that fits; None where none does."""
    for key in keys:
        with suppress(VerificationError):
            return metering.verify_reply(raw, tick=tick, tenant=order.tenant, service_key=key)
    return None
