"""A stock of quantum keys that is empty: whoever asks hears of it at once and nothing has left; with keys again the next question is answered."""

from __future__ import annotations

from pathlib import Path

from tests.inference.asking_world import asking_world, stock_of
from tests.inference.lease_world import BROKER
from tests.inference.test_asking import ask, fund
from workbench_inference.asking.service import asking_of


def test_a_question_with_an_empty_stock_of_keys_is_refused_with_who_must_act_and_the_next_one_is_answered(tmp_path: Path) -> None:
    with asking_world(tmp_path) as world:
        image = world.image(tmp_path / "image", name="extractive")
        lease = world.running(image.id, cards=1, hours=2)
        question = f"{fund(world)}的管理费率是多少？"
        assert ask(world, question).state == "ANSWERED"
        asking_of(world.institutions.nodes[BROKER]).desk.sandboxes.close(lease, cause="evidence-due")
        stock, before = stock_of(world), len(world.institutions.entries(BROKER, lease, "inference.asked"))
        left, stock.left = stock.left, 0
        refused = ask(world, question)
        assert (refused.state, refused.code) == ("REFUSED", "KEY_EXHAUSTED"), refused
        assert refused.zh and refused.en and "密钥" in refused.zh
        assert len(world.institutions.entries(BROKER, lease, "inference.asked")) == before == 1, "nothing was sent"
        stock.left = left
        assert ask(world, question).state == "ANSWERED"
