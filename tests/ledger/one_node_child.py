"""One institution's node that does what its parent asks, a line of JSON at a time, until it is killed.

Used by test_nodes_killed_one_by_one. An answer is written after what it speaks of is on disk, so it is an acknowledgement.
"""

from __future__ import annotations

import json
import sys
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

from tests.ledger.world import KEYS, PARTIES, Node
from workbench.domain.merkle import SHA256
from workbench.domain.party import PartyId
from workbench.errors import VerificationError


def main(folder: Path, party: PartyId) -> None:
    node = Node(party, folder / f"{party}.db", KEYS[party])
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = answer_to(node, order)
        except VerificationError as error:
            answer = {"error": error.code}
        print(json.dumps(answer), flush=True)


def answer_to(node: Node, order: dict[str, Any]) -> dict[str, Any]:
    ledger = node.ledger
    match order["do"]:
        case "write":
            refs = node.write(order["count"])
            return {"written": {ref.index: ref.leaf.hex() for ref in refs}}
        case "request":
            request = ledger.next_request(PartyId(order["witness"]))
            return {"data": None if request is None else b64encode(request).decode()}
        case "witness":
            reply = ledger.witness(PartyId(order["origin"]), b64decode(order["data"]))
            return {"data": b64encode(reply).decode(), "held": ledger.size(PartyId(order["origin"]))}
        case "accept":
            ledger.accept_reply(PartyId(order["witness"]), b64decode(order["data"]))
            return {}
        case "leaves":
            # Of the bodies as they lie here: not of what was stored about them.
            bodies = ledger.entry_bodies(PartyId(order["log"]), 0, ledger.size(PartyId(order["log"])))
            return {"leaves": [SHA256.leaf(body).hex() for body in bodies]}
        case "state":
            report = ledger.audit()
            last = ledger.size(node.party) - 1
            return {
                "sizes": {log: ledger.size(log) for log in PARTIES},
                "roots": {log: [one.hex() for one in ledger.roots(log)[1:]] for log in PARTIES},
                "findings": [one.en for one in report.findings],
                "conflicts": len(ledger.conflicts()),
                "seal": ledger.seal_state(node.party, last, required=PARTIES).state if last >= 0 else "",
            }
    raise ValueError(order["do"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), PartyId(sys.argv[2]))
