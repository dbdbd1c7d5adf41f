"""Key shares made before the exchange they are for, so that their public halves can be stated beforehand.

Document: docs/protocols/sandbox.md sections 6 and 8. A sandbox names in its evidence the very keys that its hello carries
later. The private halves stay in this object until one exchange takes them; what travels is as without it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NoReturn

from workbench.channel.secret import Secret
from workbench.channel.terms import SUITES
from workbench.crypto import mlkem, random, sm2_encapsulation, x25519


@dataclass(slots=True, repr=False)
class Shares:
    """The private halves for one hello; of each curve at most one."""

    mlkem: mlkem.PrivateKey
    x25519: Secret | None
    sm2: sm2_encapsulation.PrivateKey | None

    def public(self) -> dict[str, str]:
        """The public halves by curve, without ML-KEM's, hexadecimal: what a hello calls `shares`."""
        shares = {}
        if self.x25519 is not None:
            shares["x25519"] = x25519.public_from(self.x25519.reveal()).hex()
        if self.sm2 is not None:
            shares["sm2"] = self.sm2.public.hex()
        return shares

    def __reduce__(self) -> NoReturn:
        raise TypeError("key shares are not copied or stored")


def make_shares(suites: Collection[str], source: random.RandomSource) -> Shares:
    """Fresh keys for every curve that one of these suites needs. Cost: 0.3 ms."""
    curves = {SUITES[one].curve for one in suites}
    mlkem_key = mlkem.generate(source)
    scalar = Secret(source(x25519.SIZE)) if "x25519" in curves else None
    return Shares(mlkem_key, scalar, sm2_encapsulation.generate() if "sm2" in curves else None)


class PreparedShares:
    """Fresh keys for one exchange that has not begun; given to one `Initiator`, which uses them in its hello."""

    __slots__ = ("_public", "_shares", "suites")

    def __init__(self, suites: Collection[str], shares: Shares) -> None:
        self.suites = frozenset(suites)
        self._shares: Shares | None = shares
        curves = shares.public()
        self._public = {"mlkem768": shares.mlkem.public.hex()}
        self._public |= {
            name: curves[one] for one, name in (("x25519", "x25519"), ("sm2", "sm2_share")) if one in curves
        }

    @classmethod
    def make(cls, suites: Collection[str], source: random.RandomSource = random.SYSTEM) -> PreparedShares:
        """suites: the names that the exchange's terms will have. source: the system's generator outside tests."""
        return cls(suites, make_shares(suites, source))

    def public(self) -> dict[str, str]:
        """`mlkem768`, and `x25519` and `sm2_share` where a suite needs that curve: hexadecimal, as evidence names them."""
        return dict(self._public)

    def take(self, suites: Collection[str]) -> Shares:
        """The private halves, for the one exchange. Raises ValueError the second time, or for other suites."""
        if self.suites != frozenset(suites):
            raise ValueError("these shares were made for other suites")
        shares, self._shares = self._shares, None
        if shares is None:
            raise ValueError("these shares were used")
        return shares

    def wipe(self) -> None:
        """Give them up: overwritten as far as Python can, and never used."""
        shares, self._shares = self._shares, None
        if shares is not None and shares.x25519 is not None:
            shares.x25519.wipe()

    def __repr__(self) -> str:
        return f"PreparedShares({', '.join(sorted(self._public))}{'' if self._shares is not None else ', used'})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("key shares are not copied or stored")
