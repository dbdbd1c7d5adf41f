"""Two nodes, a lease, a real sandbox: a question is answered from the tenant's documents, released, erased and receipted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.inference.asking_world import asking_world
from tests.inference.lease_world import BROKER, TELECOM
from tests.inference.test_asking import ask, fund
from tests.sandbox.test_inside import WEIGHTS, program
from tests.sandbox.test_starting import STARTS
from workbench.domain.party import Role
from workbench_inference.engines import RECIPES
from workbench_inference.leasing import images, launching

pytestmark = [STARTS, pytest.mark.soak]


def test_a_leased_sandbox_answers_with_citations_and_leaves_nothing(tmp_path: Path) -> None:
    with asking_world(tmp_path, is_real=True) as world:
        recipe = next(one for one in RECIPES if one.name == "extractive")
        image = images.register(world.tenant.host, recipe, name="extractive", version="1.0", runtime=launching.own_listing("extractive"))
        lease = world.running(image.id, cards=1, hours=2)
        told = ask(world, f"{fund(world)}的管理费率是多少？")
        assert told.state == "ANSWERED", (told.code, told.zh)
        assert told.citations and all(one.matches for one in told.citations) and told.lease == lease
        world.call(BROKER, Role.OPERATOR, "inference.lease_release", lease=lease, reason="试用结束")
        world.until(lambda: world.state(BROKER, lease) == "ERASED", seconds=0.1)
        assert world.query(TELECOM, "SELECT clean FROM inference_erasure WHERE lease = ?", lease)[0][0] == 1
        run = next((tmp_path).rglob("servers/v-*/run"))
        assert list(run.iterdir()) == []



def test_a_server_inside_a_leased_sandbox_answers_and_leaves_nothing(tmp_path: Path) -> None:
    weights = tmp_path / "small.gguf"
    weights.write_bytes(WEIGHTS)
    served = {**program(environment={"SERVE": "quote"}), "weights": str(weights), "limits": {"memory_bytes": 1 << 30}}
    with asking_world(tmp_path, is_real=True, inference__programs={"small": served}) as world:
        signed = world.call(BROKER, Role.OPERATOR, "inference.model_sign", engine="openai-http", name="served", program="small")
        assert (signed.place, signed.program, signed.weights) == ("inside", "small", ["weights/small.gguf"])
        lease = world.running(signed.id, cards=1, hours=2)
        told = ask(world, f"{fund(world)}的管理费率是多少？")
        assert told.state == "ANSWERED", (told.code, told.zh)
        assert told.place == "inside" and told.engine_kind == "upstream" and told.dropped == 1 and (told.tokens_in, told.tokens_out) == (70, 7)
        assert told.citations and all(one.matches for one in told.citations)
        probed = world.call(BROKER, Role.OPERATOR, "inference.probe", lease=lease)
        assert probed.is_refused and probed.sandboxes[0].tried > 90
        world.call(BROKER, Role.OPERATOR, "inference.lease_release", lease=lease, reason="试用结束")
        world.until(lambda: world.state(BROKER, lease) == "ERASED", seconds=0.1)
        assert world.query(TELECOM, "SELECT clean FROM inference_erasure WHERE lease = ?", lease)[0][0] == 1
