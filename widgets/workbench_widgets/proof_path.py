"""The proof path as a picture: from the body of an entry up to both roots, the checkpoint and the co-signatures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_count, check_keys, check_party
from .plain import PlainList, PlainText
from .proof_chain import SIGNATURE_VERDICTS

ANCHOR_STATES = ("sealed", "pending", "failed", "tampered", "neutral")


class ProofPath(Component):
    """What was checked, drawn: own leaf, siblings, both roots, checkpoint, co-signatures, anchors.

    proof: ``{body_base64, index, size, path, root, leaf_hash?, text?, sm3?}``. Body, path and root as in
    :class:`ProofChain`; ``text`` is the signed text of the checkpoint, whose lines the browser compares with both roots;
    ``sm3`` is ``{leaf, path, hashes, root}``: the same path in the SM3 tree, whose node values are given, since browsers
    have no SM3; a given value is labelled as given.
    signatures: ``{tile, name, verdict, time_ms?, mine?, party?}``; the verdict is the node's and is labelled so.
    required: how many valid signatures make the entry final. anchors: ``{label, word, state, time_ms?}`` with a state from
    :data:`ANCHOR_STATES`; none draws the sentence ``no_anchor``. turn: another number draws the path once more, leaf first.
    Event ``tree`` with ``{tree}`` when the other tree is shown.
    """

    script: ClassVar[str] = "proof_path"
    events: ClassVar[Mapping[str, str]] = {"tree": "the path of the other tree is shown: {tree}"}

    # No plain-data check here: a body is bytes the node has already masked, and base64 can look like anything.
    proof = traitlets.Dict().tag(sync=True)
    signatures = PlainList().tag(sync=True)
    required = traitlets.Int(1, min=1).tag(sync=True)
    anchors = PlainList().tag(sync=True)
    no_anchor = PlainText().tag(sync=True)
    turn = traitlets.Int(0).tag(sync=True)

    @traitlets.validate("proof")
    def _proof_is_complete(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        proof = proposal["value"]
        if proof:
            check_keys(
                proof,
                "proof",
                required=("body_base64", "index", "size", "path", "root"),
                optional=("leaf_hash", "text", "sm3"),
            )
            if check_count(proof["index"], "proof.index") >= check_count(proof["size"], "proof.size"):
                raise ValueError("proof.index: outside the tree")
            if "sm3" in proof:
                check_keys(proof["sm3"], "proof.sm3", required=("leaf", "path", "hashes", "root"))
                if not len(proof["sm3"]["path"]) == len(proof["sm3"]["hashes"]) == len(proof["path"]):
                    raise ValueError("proof.sm3: one sibling and one hash for each level of the path")
        return proof

    @traitlets.validate("signatures")
    def _signatures_are_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        for number, item in enumerate(proposal["value"]):
            where = f"signatures[{number}]"
            check_party(item, where, extra=("verdict", "time_ms"))
            if item.get("verdict") not in SIGNATURE_VERDICTS:
                raise ValueError(f"{where}.verdict: one of {SIGNATURE_VERDICTS} is needed")
        return proposal["value"]

    @traitlets.validate("anchors")
    def _anchors_are_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        for number, item in enumerate(proposal["value"]):
            where = f"anchors[{number}]"
            check_keys(item, where, required=("label", "word", "state"), optional=("time_ms",))
            if item["state"] not in ANCHOR_STATES:
                raise ValueError(f"{where}.state: one of {ANCHOR_STATES} is needed")
        return proposal["value"]
