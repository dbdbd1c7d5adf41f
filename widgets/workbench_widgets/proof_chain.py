"""正文 → 叶 → 树根 → 共签: which link of a proof holds, with the hashes recomputed in the reader's browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_count, check_keys, check_party
from .plain import PlainList, PlainText

SIGNATURE_VERDICTS = ("valid", "invalid", "missing")


class ProofChain(Component):
    """Four boxes with a verdict on each link, and under them the path from leaf to root.

    proof: ``{body_base64, index, size, path, root, leaf_hash?}``. The body is the leaf's exact bytes; hashes are
    lower-case hex of SHA-256; the path runs from the leaf upwards (RFC 9162, section 2.1.3.2; a leaf is hashed behind
    0x00, a node behind 0x01). ``leaf_hash`` is the co-signed leaf: with it, a changed body breaks the first link and
    the second still holds.
    signatures: ``{tile, name, verdict, algorithm?, mine?, party?}``; the verdict is the node's and is labelled so.
    required: how many valid signatures make the third link hold.
    The browser computes the first two verdicts itself; where it cannot, they read "unchecked", never "agrees".
    Event ``open`` with ``{open}`` when the path is shown or hidden.
    """

    script: ClassVar[str] = "proof_chain"
    events: ClassVar[Mapping[str, str]] = {"open": "the proof path was shown or hidden: {open}"}

    # No plain-data check here: a body is bytes the node has already masked, and base64 can look like anything.
    proof = traitlets.Dict().tag(sync=True)
    signatures = PlainList().tag(sync=True)
    required = traitlets.Int(1, min=1).tag(sync=True)
    remark = PlainText().tag(sync=True)

    @traitlets.validate("proof")
    def _proof_is_complete(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        proof = proposal["value"]
        if proof:
            check_keys(
                proof, "proof", required=("body_base64", "index", "size", "path", "root"), optional=("leaf_hash",)
            )
            if check_count(proof["index"], "proof.index") >= check_count(proof["size"], "proof.size"):
                raise ValueError("proof.index: outside the tree")
        return proof

    @traitlets.validate("signatures")
    def _signatures_are_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        check_signatures(proposal["value"], "signatures", extra=("algorithm",))
        return proposal["value"]


def check_signatures(value: Any, where: str, *, extra: tuple[str, ...] = ()) -> None:  # Any: checked here
    """Raise ``ValueError`` unless each item is a party with a verdict from :data:`SIGNATURE_VERDICTS`."""
    if not isinstance(value, list):
        raise TypeError(f"{where}: a list is needed")
    for number, item in enumerate(value):
        check_party(item, f"{where}[{number}]", extra=("verdict", *extra))
        if item.get("verdict") not in SIGNATURE_VERDICTS:
            raise ValueError(f"{where}[{number}].verdict: one of {SIGNATURE_VERDICTS} is needed")
