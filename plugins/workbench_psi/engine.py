"""The engine `ddh-x25519` version 1 as the host sees it: a thin shell around protocol, commitments and curve.

Document: docs/protocols/intersection.md. Curve arithmetic is loaded when first needed, because loading compiles it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from workbench.contracts import EngineGuarantees, Prepared, Session
from workbench.crypto import sm3, x25519
from workbench.domain.intersection import Offer, Terms, bucket_of
from workbench.domain.party import PartyId
from workbench_psi import commitment, wire
from workbench_psi.estimate import Speed, cost
from workbench_psi.points import POINT_BYTES
from workbench_psi.protocol import Arithmetic, OwnInput, Run, Secret, run_session

NAME = "ddh-x25519"
VERSION = "1"
MODE = "direct"

_TIMED_POINTS = 2048
_LONGEST_IDENTIFIER = 255

GUARANTEES = EngineGuarantees(
    floor_before_reveal=True,
    both_learn=True,
    security_model_zh=(
        "双方均遵守协议（半诚实）模型：任何一方按程序运行时，除所列内容外不了解对方客户的任何信息。"
        "对方若改动程序，可以得知低于下限的人数、可在公布阶段多得一批（六十四分之一，含该批中被撤回者），但不能得知自己名单以外的客户。"
    ),
    security_model_en=(
        "Both follow the protocol (semi-honest): a side that runs the published program learns nothing about the "
        "other's customers beyond what is listed. A partner who changes its program can learn a count below the floor, "
        "get one slice (a 64th) ahead in the reveal and see struck customers of that slice, but learns nothing about "
        "customers outside its own list."
    ),
    learns_zh=(
        "对方名单的规模档位（256 以上误差不超过 12.5 %）",
        "共同客户数（达到下限时显示；低于下限时程序不显示也不保存）",
        "双方撤回清单的长度档位，以及其中有多少位原是共同客户（不含身份）",
        "最终的共同客户，双方得到同一份",
        "对方在截止时点剔除了哪些共同客户",
    ),
    learns_en=(
        "the size class of the other list (within 12.5 % above 256)",
        "how many customers are common (shown from the floor upwards; below it neither shown nor kept)",
        "the length class of both strike lists and how many on them had been common (not who)",
        "the common customers that are left, the same on both sides",
        "which common customers the other side dropped at the cut-off",
    ),
)


class DdhX25519:
    """Commutative masking on Curve25519, cardinality first; see contracts.IntersectionEngine."""

    name = NAME
    version = VERSION
    guarantees = GUARANTEES

    def __init__(self, arithmetic: Arithmetic | None = None) -> None:
        """arithmetic: another implementation of the curve, for tests; None takes workbench_psi.curve."""
        self._given = arithmetic

    @cached_property
    def _arithmetic(self) -> Arithmetic:
        if self._given is not None:
            return self._given
        from workbench_psi import curve  # loading compiles machine code: only where it is used

        return curve

    def self_test(self) -> None:
        """Known answers of the curve and of SM3 in batches, whose code is loaded here; SelfTestFailed when one differs."""
        from workbench_psi import curve

        curve.self_test()
        sm3.warm_up()

    def estimate(self, own: int, partner_bucket: int) -> tuple[float, int]:
        """Seconds of this side's processor and bytes of payload in both directions.

        own: number of own customers. The machine's speed is measured at the first call (some hundredths of a second).
        """
        return cost(self._speed, own_bucket=bucket_of(own + wire.STRIKE_CLASS), partner_bucket=partner_bucket)

    @cached_property
    def _speed(self) -> Speed:
        points = np.frombuffer(bytes(range(1, 33)) * _TIMED_POINTS, np.uint8).reshape(-1, POINT_BYTES)
        curve, scalar = self._arithmetic, bytes(range(POINT_BYTES))
        curve.x25519(scalar, points[:8], threads=1)
        multiply = _microseconds(lambda: curve.x25519(scalar, points, threads=1))
        return Speed(multiply, _microseconds(lambda: curve.elligator2(points, threads=1)))

    def prepare(
        self,
        *,
        party: PartyId,
        identifiers: Sequence[bytes],
        grant_digests: np.ndarray,
        random: Callable[[int], bytes],
    ) -> Prepared:
        """Section 3: pad, commit, and draw a fresh scalar.

        identifiers: n >= 1 distinct normalised byte strings of 1 to 255 bytes; not copied, so not to be changed during
        the run. grant_digests: (n, 32) uint8, not kept. ValueError for another shape. Cost: 1.5 microseconds a customer.
        """
        count = len(identifiers)
        bucket = bucket_of(count + wire.STRIKE_CLASS)
        if not count or bucket > wire.MAX_BUCKET or grant_digests.shape != (count, POINT_BYTES):
            raise ValueError("an intersection needs 1 to 2^24 identifiers and a grant digest of 32 bytes for each")
        if not 0 < min(map(len, identifiers)) <= max(map(len, identifiers)) <= _LONGEST_IDENTIFIER:
            raise ValueError("an identifier has 1 to 255 bytes")
        scalar, job_key = Secret("scalar", random(32)), Secret("job key", random(32))
        leaves = commitment.customer_leaves(job_key.reveal(), identifiers, grant_digests, bucket=bucket, random=random)
        leaves, places = commitment.sort_leaves(leaves)
        places = places[:count].astype(np.int32)
        tree = commitment.build_tree(leaves)
        offer = Offer(party, bucket, tree.root, x25519.public_from(scalar.reveal()))
        return Prepared(offer, OwnInput(scalar, job_key, identifiers, places, tree, random))

    def session(
        self, *, prepared: Prepared, initiator: bool, terms: Terms, contract_digest: bytes, partner: Offer, threads: int
    ) -> Session:
        """Sections 5 to 9: one side's run; errors of the partner's offer appear at its first step.

        Raises ValueError for terms of another engine or mode, a digest of another length, or input used before.
        """
        if terms.engine != f"{NAME}/{VERSION}" or terms.mode != MODE:
            raise ValueError("these terms ask for another engine or mode")
        if len(contract_digest) != POINT_BYTES or threads < 1:
            raise ValueError("a session needs a contract digest of 32 bytes and at least one thread")
        source: OwnInput = prepared.handle
        if source.spent:
            raise ValueError("this input was used by another session: an attempt needs fresh input")
        source.spent = True
        return run_session(
            Run(source, self._arithmetic, terms, contract_digest, prepared.offer, partner, initiator, threads)
        )


def _microseconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1e6 / _TIMED_POINTS
