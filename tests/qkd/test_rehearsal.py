"""A block rehearsed from the command line, and the plot of published against simulated rates."""

from __future__ import annotations

import json

import pytest
from workbench_kme.physics import PRESETS
from workbench_qkd.published import comparisons
from workbench_qkd.simulating import Rehearsal, rehearse

from workbench.cli import main
from workbench.errors import InvalidRequest

SMALL = 30_000_000


def test_the_same_seed_gives_the_same_block_and_both_ends_the_same_key() -> None:
    first, again, other = (rehearse(Rehearsal("metro-10", SMALL, seed)) for seed in ("7", "7", "8"))
    assert first == again
    assert first["ends_agree"] and first["keys"] > 0
    assert other["test_errors"] != first["test_errors"] or other["clicks"] != first["clicks"]
    assert first["rate"] < first["plob_bound"]
    assert first["provenance"] == "simulated"


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_leaves_a_key_as_it_stands_and_stays_below_the_bound(preset: str) -> None:
    told = rehearse(Rehearsal(preset))
    assert told["ends_agree"] and told["keys"] > 100
    assert 0 < told["rate"] < told["asymptotic_rate"] < told["plob_bound"]


def test_intercepting_everything_leaves_no_key_and_blinding_shows_nothing() -> None:
    caught = rehearse(Rehearsal("metro-10", SMALL, kind="intercept-resend", fraction=1.0))
    assert caught["aborted"] and caught["keys"] == 0
    assert caught["qber"] == pytest.approx(caught["expected_qber"], abs=0.01)
    assert caught["qber"] > 0.25
    blind = rehearse(Rehearsal("metro-10", SMALL, kind="detector-blinding", fraction=1.0))
    quiet = rehearse(Rehearsal("metro-10", SMALL))
    assert blind["qber"] == pytest.approx(quiet["qber"], abs=0.002), "no figure of the line moves"
    assert blind["keys"] > 0 and blind["attack"]["known_share"] == 1.0, "a key is made, and it is known"
    assert not blind["attack"]["seen_by_qber"] and not blind["attack"]["seen_by_decoys"]


def test_the_command_prints_one_object_and_no_bit_of_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["qkd", "simulate", "--preset", "metro-10", "--pulses", str(SMALL), "--seed", "7", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["keys"] > 0
    assert not [name for name, value in told.items() if isinstance(value, str) and len(value) > 20], "names and words only"
    assert main(["qkd", "simulate", "--pulses", str(SMALL), "--eavesdropper", "1", "--json"]) == 2


def test_the_known_answers_are_given_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["qkd", "selftest", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["passed"]
    assert {"sm3", "sm4-gcm"} <= {one["name"].partition(" ")[0].lower().rstrip(",") for one in told["tests"]} | {
        one["name"].lower() for one in told["tests"]
    } | set(" ".join(one["name"] for one in told["tests"]).lower().split())


@pytest.mark.parametrize(
    "wrong", [{"preset": "moon"}, {"preset": "metro-10", "fraction": 1.5}, {"preset": "metro-10", "kind": "magic"}, {"preset": "metro-10", "pulses": 1 << 41}]
)
def test_a_rehearsal_of_what_there_is_not_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        Rehearsal(**wrong)  # type: ignore[arg-type]


def test_published_points_lie_beside_the_model_and_nothing_above_the_bound() -> None:
    endless, finite = comparisons()
    assert len(endless.published) == 2 and len(finite.published) >= 4, "our own frozen values are no publication"
    for one in (endless, finite):
        bound = dict(one.bound)
        for km, rate in (*one.model, *one.simulated):
            assert rate <= bound.get(km, 1.0)
    model = dict(endless.model)
    for km, rate in endless.published:
        assert model[km] == pytest.approx(rate, rel=0.01)
    for km, rate in finite.simulated:
        nearest = min(finite.model, key=lambda point: abs(point[0] - km))
        assert rate == pytest.approx(nearest[1], rel=0.25), "simulated blocks follow the formula"
