"""How much work a password or passphrase costs in the tests: the least that an opened file may ask for.

Every institution that a test makes has seven people and two wrapped keys, and every start of a node opens the two: at the
product's cost (64 MiB, three passes, four lanes; 0.2 s of processor time each) this was a good part of the whole suite. What is
made in the tests' own process is therefore made cheaply, and a node process opens it at the cost that the file states. What the
commands of the product make themselves costs what it costs users; the fixture `full_cost` gives tests of the cost itself theirs.
"""

from __future__ import annotations

from collections.abc import Iterator

import argon2
import pytest

from workbench.crypto import passwords, wrap

Cost = tuple[argon2.PasswordHasher, str, tuple[int, int, int]]

FULL: Cost = (passwords._HASHER, passwords._NOBODY, (wrap._PASSES, wrap._MEMORY_KIB, wrap._LANES))
LEAST: Cost = (
    argon2.PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1, hash_len=32, salt_len=16),
    passwords._NOBODY.replace("$m=65536,t=3,p=4$", "$m=8192,t=1,p=1$"),
    (1, 8 * 1024, 1),
)


def choose(cost: Cost) -> None:
    """From now on hash, look up nobody and wrap at this cost, in this process."""
    passwords._HASHER, passwords._NOBODY, (wrap._PASSES, wrap._MEMORY_KIB, wrap._LANES) = cost


@pytest.fixture
def full_cost() -> Iterator[None]:
    """The product's own cost for one test."""
    choose(FULL)
    yield
    choose(LEAST)
