"""Three institutions with real keys, made once for all tests that need them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from workbench.domain.party import PartyId
from workbench.node.keys import InstitutionKeys

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
NAMES = {
    "broker": ("晨星证券", "Chenxing Securities"),
    "cardnet": ("通联卡", "Tonglian Cards"),
    "bank": ("江南银行", "Jiangnan Bank"),
}
HOSTS = {"broker": "127.0.0.11", "cardnet": "127.0.0.12", "bank": "127.0.0.13"}


@cache
def institution(party: str) -> InstitutionKeys:
    """The keys of `party`; the same object every time."""
    name_zh, name_en = NAMES[party]
    return InstitutionKeys.create(
        PartyId(party),
        name_zh=name_zh,
        name_en=name_en,
        host=HOSTS[party],
        port=7443,
        now=NOW,
        more_hosts=["localhost"],
    )
