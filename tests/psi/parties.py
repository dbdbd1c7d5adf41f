"""Two institutions with small lists, ready to run against each other over a FaultyNetwork."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from network import Fault, FaultyNetwork, Message, Side, deliver

from workbench.contracts import Prepared
from workbench.crypto.random import SeededSource
from workbench.domain.intersection import JobId, KeyKind, Offer, Terms
from workbench.domain.party import PartyId
from workbench_psi.commitment import commitment
from workbench_psi.engine import DdhX25519
from workbench_psi.protocol import Arithmetic

BROKER, BANK = PartyId("broker"), PartyId("bank")
CONTRACT = bytes(range(100, 132))


def phones(start: int, stop: int) -> list[bytes]:
    """Numbers no carrier has."""
    return [b"100%08d" % number for number in range(start, stop)]


def terms(floor: int) -> Terms:
    return Terms(
        job=JobId("J-20261121-0a1b2c3d"),
        initiator=BROKER,
        partner=BANK,
        purpose="wealth-marketing",
        key_kind=KeyKind.PHONE,
        minimum_crowd=floor,
        engine="ddh-x25519/1",
        mode="direct",
        valid_until_ms=0,
    )


def prepared(party: PartyId, identifiers: Sequence[bytes], *, seed: bytes = b"") -> Prepared:
    grants = np.frombuffer(SeededSource(b"grants" + party.encode())(32 * len(identifiers)), np.uint8)
    return DdhX25519().prepare(
        party=party,
        identifiers=identifiers,
        grant_digests=grants.reshape(-1, 32),
        random=SeededSource(seed + party.encode()),
    )


def pair(
    broker: Sequence[bytes],
    bank: Sequence[bytes],
    *,
    floor: int = 1,
    broker_starts: bool = True,
    seed: bytes = b"",
    struck: tuple[Iterable[bytes], Iterable[bytes]] = ((), ()),
    dropped: tuple[Iterable[bytes], Iterable[bytes]] = ((), ()),
    bank_arithmetic: Arithmetic | None = None,
    inputs: tuple[Prepared, Prepared] | None = None,
    offer_to_broker: Offer | None = None,
) -> tuple[Side, Side]:
    """Both sides before their first step. struck, dropped: identifiers of the broker and of the bank."""
    ours, theirs = inputs or (prepared(BROKER, broker, seed=seed), prepared(BANK, bank, seed=seed))
    sides = []
    for index, (name, names, own, other, engine) in enumerate(
        (
            (BROKER, broker, ours, offer_to_broker or theirs.offer, DdhX25519()),
            (BANK, bank, theirs, ours.offer, DdhX25519(bank_arithmetic)),
        )
    ):
        session = engine.session(
            prepared=own,
            initiator=broker_starts == (name == BROKER),
            terms=terms(floor),
            contract_digest=CONTRACT,
            partner=other,
            threads=1,
        )
        out = frozenset(dropped[index])
        sides.append(
            Side(
                name,
                session,
                struck=[names.index(one) for one in struck[index]],
                dropped=_rows_among(names, out),
            )
        )
    return sides[0], sides[1]


def _rows_among(names: Sequence[bytes], out: frozenset[bytes]) -> Callable[[np.ndarray], Iterable[int]]:
    return lambda hits: [row for row in hits.tolist() if names[row] in out]


def run(sides: tuple[Side, Side], fault: Fault = deliver) -> tuple[Side, Side]:
    FaultyNetwork(*sides, fault).run()
    return sides


def found(side: Side, names: Sequence[bytes]) -> list[bytes]:
    """The released identifiers of one side."""
    assert side.outcome is not None, side.error
    return [names[row] for row in side.outcome.hits.tolist()]


def payloads(side: Side, kind: str) -> bytes:
    """All payloads of one kind a side sent, joined."""
    return b"".join(message.payload for message in side.sent if message.kind == kind)


def lie(sender: PartyId, step: str, value: bytes) -> Fault:
    """A sender that commits to `value` and then opens it, whatever the protocol would have made it say."""
    replaced = {f"{step}-commit": commitment(step, CONTRACT, sender, value), step: value}

    def fault(message: Message) -> list[Message]:
        ours = message.sender == sender and message.kind in replaced
        return [message.carrying(replaced[message.kind]) if ours else message]

    return fault
