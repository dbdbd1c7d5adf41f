"""Restores a broker from its mirrors, one body at a time, until it is killed or done. Used by test_killed_restores."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.ledger.world import BANK, BROKER, CARDNET, World
from workbench.errors import VerificationError


def main(folder: Path) -> None:
    world = World(folder)
    desk = world.broker.ledger.exchange
    print("opened", flush=True)
    try:
        desk.learn_held(BANK, world.bank.ledger.exchange.held(BROKER))
    except VerificationError as error:
        print(error.code, flush=True)
    while (span := desk.wanted()) is not None:
        mirror = (BANK, CARDNET)[span[0] % 2]
        desk.stage(span[0], world.nodes[mirror].ledger.entry_bodies(BROKER, span[0], span[0] + 1), mirror)
        print("staged", span[0], flush=True)
    restored = desk.take_staged() or desk.unfinished()
    print("taken", flush=True)
    if restored is not None:
        desk.finish(restored, lambda tx: None)
    print("finished", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
