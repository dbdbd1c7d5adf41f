"""Section 7: the machine code beside a plain model, every error pattern, exact counting."""

from __future__ import annotations

import cascade_model
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from workbench_kme.distill import cascade, cascade_kernels
from workbench_kme.distill.cascade import Cascade, first_block_size, frame_starts, shannon_bits

SEED = bytes(range(16))


def correct(sent: np.ndarray, seen: np.ndarray, size: int, seed: bytes = SEED) -> tuple[Cascade, Cascade, list[int]]:
    """Both ends until none has a question; the number of questions of every round."""
    sender = Cascade(sent, corrects=False, seed=seed, block_size=size)
    receiver = Cascade(seen, corrects=True, seed=seed, block_size=size)
    rounds = []
    while not receiver.finished:
        theirs, own = sender.parities().copy(), receiver.parities().copy()
        rounds.append(len(theirs))
        sender.advance(own)
        receiver.advance(theirs)
    assert sender.finished
    return sender, receiver, rounds


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    st.lists(st.booleans(), min_size=2, max_size=400),
    st.integers(4, 60),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**32),
)
def test_after_correction_of_any_error_pattern_the_keys_are_equal(wrong: list[bool], size: int, seed: bytes, key: int) -> None:
    sent = np.random.default_rng(key).integers(0, 2, len(wrong), dtype=np.uint8)
    seen = sent ^ np.array(wrong, np.uint8)
    sender, receiver, rounds = correct(sent, seen, size, seed)
    assert np.array_equal(sender.key, sent), "the sender's key is the reference"
    assert receiver.failed == sender.failed
    assert np.array_equal(receiver.key, sent) or receiver.failed
    assert sender.disclosed == receiver.disclosed == sum(rounds)
    if not receiver.failed:
        assert sender.errors == receiver.errors == sum(wrong)


@pytest.mark.parametrize(("bits", "error", "size", "frame_bits"), [(900, 0.03, 25, 1 << 18), (1501, 0.08, 10, 500), (700, 0.3, 4, 350), (600, 0.0, 800, 200)])
def test_every_round_asks_what_the_document_says(
    bits: int, error: float, size: int, frame_bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two implementations that read the document alike ask equally many questions in every round and flip equal bits."""
    monkeypatch.setattr(cascade, "MOST_FRAME_BITS", frame_bits)
    draw = np.random.default_rng(bits)
    sent = draw.integers(0, 2, bits, dtype=np.uint8)
    wrong = (draw.random(bits) < error).astype(np.uint8)
    starts = frame_starts(bits)
    frames = [wrong[low:high].tolist() for low, high in zip(starts, starts[1:], strict=False)]
    sizes, log = cascade_model.run(frames, SEED, size)
    _, receiver, rounds = correct(sent, sent ^ wrong, size)
    assert rounds == sizes
    assert sorted(starts[frame] + place for frame, place in log) == np.flatnonzero(wrong).tolist()
    assert np.array_equal(receiver.key, sent)


def test_a_permutation_is_the_document_s() -> None:
    forward, back = np.empty(100, np.int32), np.empty(100, np.int32)
    cascade_kernels.permute(np.uint64(2**64 - 3), 10, 90, forward, back)
    assert (forward[10:] - 10).tolist() == cascade_model.permutation(2**64 - 3, 90)
    assert np.array_equal(back[forward[10:]], np.arange(10, 100))


@pytest.mark.parametrize("size", [2, 1 << 18, (1 << 18) + 1, 3 * (1 << 18) + 2])
def test_frames_cover_a_block_and_differ_by_one_bit_at_most(size: int) -> None:
    lengths = np.diff(frame_starts(size))
    assert lengths.sum() == size and lengths.max() <= 1 << 18 and lengths.max() - lengths.min() <= 1


def test_the_first_block_size_follows_the_error_rate_in_whole_numbers() -> None:
    assert first_block_size(1000, 33) == 25, "0.8/0.033 = 24.24, rounded up"
    assert (first_block_size(1000, 0), first_block_size(1000, 400), first_block_size(100_000, 1)) == (800, 4, 800)


def test_efficiency_near_shannon_at_the_error_rate_of_the_reference() -> None:
    """Not the endurance run: one block of 2^18, whose efficiency scatters by a few parts in a thousand."""
    draw = np.random.default_rng(33)
    sent = draw.integers(0, 2, 1 << 18, dtype=np.uint8)
    seen = sent ^ (draw.random(1 << 18) < 0.033).astype(np.uint8)
    sender, receiver, rounds = correct(sent, seen, 25)
    assert np.array_equal(receiver.key, sent)
    assert 1.0 < sender.disclosed / shannon_bits(1 << 18, receiver.errors) <= 1.07
    assert len(rounds) < 250


def test_a_wrong_number_of_parities_is_a_mistake_of_the_caller() -> None:
    end = Cascade(np.zeros(100, np.uint8), corrects=True, seed=SEED, block_size=10)
    with pytest.raises(ValueError):
        end.advance(np.zeros(3, np.uint8))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(2, 300), st.integers(4, 40), st.integers(0, 2**32), st.sampled_from([0.02, 0.3, 0.5]))
def test_an_end_that_is_told_nonsense_comes_to_an_end(bits: int, size: int, seed: int, lies: float) -> None:
    """Parities that contradict one another must not keep the corrected bits turning for ever."""
    draw = np.random.default_rng(seed)
    end = Cascade(draw.integers(0, 2, bits, dtype=np.uint8), corrects=True, seed=SEED, block_size=size)
    while not end.finished:
        end.advance(end.parities() ^ (draw.random(len(end.parities())) < lies).astype(np.uint8))
        assert end.round < 20_000
