"""What one end of a line works with, put together once by the entity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from workbench.crypto import random
from workbench_kme.keys import KeyStore
from workbench_kme.service.config import LineConfig
from workbench_kme.service.journal import Journal
from workbench_kme.service.peering import PeerLink
from workbench_kme.service.pool import PoolKeeper
from workbench_kme.sources import KeySource


@dataclass(frozen=True, slots=True)
class LineParts:
    """Parts of one line at one end.

    device_enabled: whether keys are made and given out. check_distillation: raises KeyUnavailable on a machine that must
    not distil. record: writes an event for the node's evidence. own_applications: (registered for this line, withdrawn), as
    the other end is told. is_free: whether the other end may name an application so.
    """

    config: LineConfig
    store: KeyStore
    journal: Journal
    source: KeySource
    pool: PoolKeeper
    link: PeerLink
    now_ms: Callable[[], int]
    random: random.RandomSource
    device_enabled: Callable[[], bool]
    check_distillation: Callable[[], None]
    record: Callable[..., None]
    own_applications: Callable[[], tuple[list[str], list[str]]]
    is_free: Callable[[str], bool]
