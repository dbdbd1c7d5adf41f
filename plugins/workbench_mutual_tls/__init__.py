"""The channel `mutual-tls`: HTTPS with certificates on both ends. Document: docs/protocols/messages.md section 7."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.contracts import Channel
from workbench.hookspecs import hookimpl
from workbench_mutual_tls.channel import MutualTlsChannel

WORKBENCH_API = 1


@hookimpl
def workbench_channels() -> Sequence[Channel]:
    """The one channel of this plugin."""
    return [MutualTlsChannel()]
