"""The key store of one KME 密钥管理实体: life of a key, one-time use, sync with the other end, charge keys.

Document: docs/protocols/key-delivery.md sections 1 to 4. Open a `workbench.store.Database` with KEY_MIGRATIONS, a device of
`workbench_kme.devices`, and a KeyStore over both.
"""

from __future__ import annotations

from workbench_kme.keys.charge import ChargeDelivery, ChargeKey, ChargeMedium, ChargePool, ChargePools, ChargesRevoked
from workbench_kme.keys.forecast import Forecast
from workbench_kme.keys.model import (
    BlockAdded,
    Changed,
    KeyValue,
    KeyView,
    LeakReport,
    LeakUse,
    Line,
    LineStatus,
    Position,
    Provenance,
    Reservation,
    State,
    block_check,
    key_id,
)
from workbench_kme.keys.quota import Quota
from workbench_kme.keys.schema import KEY_MIGRATIONS
from workbench_kme.keys.store import Event, KeyStore
from workbench_kme.keys.syncing import SyncReport, SyncState, format_sync, parse_sync

__all__ = [
    "KEY_MIGRATIONS",
    "BlockAdded",
    "Changed",
    "ChargeDelivery",
    "ChargeKey",
    "ChargeMedium",
    "ChargePool",
    "ChargePools",
    "ChargesRevoked",
    "Event",
    "Forecast",
    "KeyStore",
    "KeyValue",
    "KeyView",
    "LeakReport",
    "LeakUse",
    "Line",
    "LineStatus",
    "Position",
    "Provenance",
    "Quota",
    "Reservation",
    "State",
    "SyncReport",
    "SyncState",
    "block_check",
    "format_sync",
    "key_id",
    "parse_sync",
]
