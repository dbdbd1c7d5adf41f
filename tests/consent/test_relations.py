"""Which rows of two sides share a key: against a dictionary, also where keys agree in their first half."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from workbench_consent.subjects import relate

key = st.tuples(st.integers(0, 2), st.integers(0, 2))
side = st.lists(st.tuples(key, st.booleans()), max_size=25)


@settings(max_examples=300, deadline=None)
@given(side, side)
def test_relations_are_those_of_a_dictionary(left: list[tuple[tuple[int, int], bool]], right: list[tuple[tuple[int, int], bool]]) -> None:
    """Few different numbers, so that repeated keys and keys that share one half both occur."""
    columns = [np.array([one for one, _ in rows], np.uint64).reshape(-1, 2).T for rows in (left, right)]
    flags = [np.array([flag for _, flag in rows], bool) for rows in (left, right)]
    relation = relate(columns[0], flags[0], columns[1], flags[1])
    chosen = [row for row, (_, flag) in enumerate(right) if flag]
    assert relation.right.tolist() == chosen
    assert relation.count == len({right[row][0] for row in chosen})
    group_of = dict(zip((right[row][0] for row in chosen), relation.group.tolist(), strict=True))
    assert [group_of[right[row][0]] for row in chosen] == relation.group.tolist()
    assert sorted(group_of.values()) == list(range(relation.count))
    assert relation.left.tolist() == [group_of.get(one, -1) if flag else -1 for one, flag in left]
