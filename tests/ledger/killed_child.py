"""Writes and co-signs without end until it is killed; prints what was acknowledged. Used by test_killed_nodes."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.ledger.world import BANK, BROKER, CARDNET, World


def main(folder: Path) -> None:
    world = World(folder)
    world.settle()
    while True:
        world.broker.write(3)
        print("written", world.broker.ledger.size(BROKER), flush=True)
        for witness in (BANK, CARDNET):
            world.exchange(BROKER, witness)
            print(witness, world.broker.ledger.size(BROKER), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
