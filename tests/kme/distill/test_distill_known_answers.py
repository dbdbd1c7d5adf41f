"""The self-test: right answers pass in silence, each wrong one is named."""

from __future__ import annotations

import cascade_model
import numpy as np
import pytest

from workbench.errors import SelfTestFailed
from workbench_kme.distill import compiling, known_answers, self_test, toeplitz


def test_the_known_answers_are_those_of_the_plain_models() -> None:
    self_test()
    wrong = [int(place in known_answers._WRONG) for place in range(600)]
    assert sum(cascade_model.run([wrong], bytes(range(16)), 20)[0]) == known_answers._QUESTIONS
    bits = np.unpackbits((np.arange(400, dtype=np.int64) ** 3 % 251).astype(np.uint8))
    seed, key = bits[:1063], bits[2000:3000].astype(np.int64)
    product = np.packbits([int(seed[i : i + 1000][::-1] @ key) & 1 for i in range(64)])
    assert product.tobytes().hex() == known_answers._PRODUCT


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [("_POLY1305_TAG", bytes(16), "Poly1305"), ("_QUESTIONS", 224, "Cascade"), ("_PRODUCT", "ec9b32b475b3f41c", "Toeplitz")],
)
def test_a_wrong_answer_stops_the_machine(name: str, value: object, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_answers, name, value)
    with pytest.raises(SelfTestFailed, match=what):
        self_test()


def test_two_ways_that_differ_stop_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    true = toeplitz.transform
    monkeypatch.setattr(toeplitz, "transform", lambda *given: true(*given) ^ (np.arange(5000) == 4321))
    with pytest.raises(SelfTestFailed, match="Toeplitz"):
        self_test()


def test_without_a_place_for_a_cache_the_code_is_compiled_all_the_same() -> None:
    """A function without a file has no cache, as one in a read-only installation has none."""
    made: dict[str, object] = {}
    exec("def twice(value):\n    return 2 * value", made)
    twice = compiling.compiled(made["twice"])  # type: ignore[type-var]
    assert twice(21) == 42  # type: ignore[operator]
