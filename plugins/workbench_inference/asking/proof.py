"""What this institution holds of a lease that others signed, from its rows and its vault. docs/protocols/sandbox.md section 14.1."""

from __future__ import annotations

from workbench.domain.party import PartyId
from workbench_inference.asking.house import ENDS, EVIDENCE
from workbench_inference.leasing import rows
from workbench_inference.leasing.keys import LeasingHost, Reader
from workbench_sandbox.formats.leasefile import LeaseFile, SignedEnds
from workbench_sandbox.formats.reading import lv4


def lease_file(reader: Reader, host: LeasingHost, lease: str) -> LeaseFile:
    """The file of a lease as it stands now. Raises NotFound NO_LEASE."""
    row = rows.get(reader, lease)

    def written(sql: str, *parameters: str) -> tuple[bytes, ...]:
        return tuple(bytes(one[0]) for one in reader.execute(sql, parameters))

    def kept(prefix: str) -> tuple[bytes, ...]:
        return tuple(host.vault.get(reader, one) for one in host.vault.names(reader, f"{prefix}{lease}/"))

    both = (row.order.tenant, row.order.provider)
    stated = {PartyId(one): written("SELECT statement FROM inference_service_key WHERE party = ? ORDER BY number", one) for one in both}
    ticks = reader.execute("SELECT body, signature, reply FROM inference_tick WHERE lease = ? ORDER BY number", (lease,)).fetchall()
    return LeaseFile(
        host.party, row.order, stated, tuple((lv4(bytes(body)) + bytes(signature), bytes(reply)) for body, signature, reply in ticks),
        b"".join(written("SELECT body FROM inference_statement WHERE lease = ?", lease)),
        written("SELECT receipt FROM inference_erasure WHERE lease = ? ORDER BY server, received_ms", lease),
        kept(EVIDENCE), tuple(SignedEnds.parse(one) for one in kept(ENDS)),
    )  # fmt: skip


__all__ = ["lease_file"]
