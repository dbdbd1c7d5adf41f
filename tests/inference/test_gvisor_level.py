"""A data class that needs level `gvisor`: refused on a lease of level `process`, answered on one of level `gvisor`, by real sandboxes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.inference.asking_world import asking_world
from tests.inference.lease_world import BROKER, TELECOM
from tests.inference.test_asking import ask, fund
from tests.sandbox.world import lacking_gvisor
from workbench.domain.party import Role
from workbench.errors import Refused, StartRefused
from workbench_inference.engines import RECIPES
from workbench_inference.leasing import images, launching, upkeep
from workbench_inference.settings import CLASS_LEVELS
from workbench_sandbox.formats.evidence import CONTROLS
from workbench_sandbox.server import gvisor

LEVELS = {**CLASS_LEVELS, "public": {"level": "gvisor", "behind": False}, "internal": {"level": "gvisor", "behind": False}}


@pytest.mark.soak
@pytest.mark.skipif(bool(lacking_gvisor()), reason=lacking_gvisor() or "it can be started")
def test_what_needs_gvisor_is_refused_at_level_process_and_answered_at_level_gvisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "FIRST_SERVERS", 1)
    controls = [one for one in CONTROLS if one != "no-swap"]  # of an order as it comes, not the two of other tests
    with asking_world(tmp_path, is_real=True, maker=launching.under_gvisor, inference__class_levels=LEVELS, inference__controls=controls) as world:
        recipe = next(one for one in RECIPES if one.name == "extractive")
        image = images.register(world.tenant.host, recipe, name="extractive", version="1.0", runtime=launching.own_listing("extractive"))
        question = f"{fund(world)}的管理费率是多少？"
        lease = world.running(image.id, cards=1)
        with pytest.raises(Refused) as refused:
            ask(world, question)
        assert (refused.value.code, refused.value.details["assurance"]) == ("CLASS_TOO_HIGH", "process")
        assert "inference.asked" not in world.kinds(BROKER, lease)
        world.call(BROKER, Role.OPERATOR, "inference.lease_release", lease=lease, reason="换级别")
        world.until(lambda: world.state(BROKER, lease) == "ERASED", seconds=0.1)
        assert world.query(TELECOM, "SELECT clean FROM inference_erasure WHERE lease = ?", lease)[0][0] == 1
        lease = world.running(image.id, cards=1, assurance="gvisor")
        told = ask(world, question)
        assert told.state == "ANSWERED", (told.code, told.zh)
        assert told.citations and all(one.matches for one in told.citations) and told.lease == lease
        level, missing = world.query(BROKER, "SELECT assurance, missing FROM inference_sandbox WHERE lease = ?", lease)[0]
        assert level == "gvisor" and set(missing.split()) <= {"no-swap"}
        world.call(BROKER, Role.OPERATOR, "inference.lease_release", lease=lease, reason="试用结束")
        world.until(lambda: world.state(BROKER, lease) == "ERASED", seconds=0.1)
        assert world.query(TELECOM, "SELECT clean FROM inference_erasure WHERE lease = ?", lease)[0][0] == 1


def test_a_provider_without_runsc_leases_nothing_at_this_level_and_says_which_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gvisor, "find_program", lambda: "")
    with pytest.raises(StartRefused) as refused:
        launching.MAKERS["gvisor"](None)  # type: ignore[arg-type]  # refused before anything is asked of the node
    assert refused.value.code == "ISOLATION_MISSING" and "runsc" in refused.value.zh and "Debian" in refused.value.en
