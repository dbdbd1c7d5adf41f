"""A receipt: what was sealed, by whom, and the command that checks it offline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_count, check_keys
from .plain import PlainDict
from .proof_chain import check_signatures


class ReceiptCard(Component):
    """The card of one receipt.

    receipt: ``{id, checkpoint, cosigners, required, roots, command, sealed_ms?}``; ``checkpoint`` is the size of the
    signed log, ``cosigners`` are parties with a ``verdict`` (``valid``, ``invalid``, ``missing``), ``required`` how
    many make it final, ``roots`` a list of ``{algorithm, hex}``, ``command`` the offline check as typed in a terminal.
    The seal is derived, never given: all valid is sealed, enough is degraded, fewer is pending, one invalid is red.
    Events ``open_evidence`` and ``print`` with ``{id}``, ``copy`` with ``{what}``.
    """

    script: ClassVar[str] = "receipt_card"
    events: ClassVar[Mapping[str, str]] = {
        "open_evidence": "the evidence behind the receipt is wanted: {id}",
        "print": "the receipt is to be printed: {id}",
        "copy": "the command was copied: {what}",
    }

    receipt = PlainDict().tag(sync=True)

    @traitlets.validate("receipt")
    def _receipt_is_complete(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        receipt = proposal["value"]
        if receipt:
            check_keys(
                receipt,
                "receipt",
                required=("id", "checkpoint", "cosigners", "required", "roots", "command"),
                optional=("sealed_ms",),
            )
            check_count(receipt["checkpoint"], "receipt.checkpoint")
            check_signatures(receipt["cosigners"], "receipt.cosigners")
            if not 1 <= check_count(receipt["required"], "receipt.required") <= max(1, len(receipt["cosigners"])):
                raise ValueError("receipt.required: between 1 and the number of co-signers")
            for number, root in enumerate(receipt["roots"]):
                check_keys(root, f"receipt.roots[{number}]", required=("algorithm", "hex"))
        return receipt
