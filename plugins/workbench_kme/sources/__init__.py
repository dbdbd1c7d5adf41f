"""Where the bits of keys come from. Document: docs/protocols/key-delivery.md section 9.

A source makes one state machine per block at each end; carrying its messages is the service's business. The three of
this package are `simulated`, `device-014` and `imported`; other distributions add theirs with an entry point in the
group `workbench_kme.sources` that names a class of the shape `KeySource`.
"""

from __future__ import annotations

from workbench_kme.sources.contract import (
    BlockMachine,
    BlockTask,
    KeySource,
    SourceContext,
    SourceWaiting,
)
from workbench_kme.sources.registry import source_class, source_names

__all__ = [
    "BlockMachine",
    "BlockTask",
    "KeySource",
    "SourceContext",
    "SourceWaiting",
    "source_class",
    "source_names",
]
