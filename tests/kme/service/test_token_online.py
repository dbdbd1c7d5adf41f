"""An entity whose first device is a token gets a second token while it runs: keys go on, each opens its own, and it can be drained again."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from kme_pair import LINE, RECEIVER, SAES, SENDER, Pair, imported_plan, until
from workbench_kme.devices import pkcs11
from workbench_kme.service import supervise
from workbench_kme.service.config import Quota
from workbench_kme.service.sites import make_sites

from workbench.crypto import canonical
from workbench.errors import KeyUnavailable, Refused

pytestmark = pytest.mark.skipif(pkcs11.usual_module() is None, reason="SoftHSM2 is not installed (make system)")
FIRST, SECOND = "first", "second"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """The sender's entity has the token `first`; a token `second` is ready, with the same PIN."""
    plan = imported_plan()
    sites = make_sites(tmp_path / "sites", [plan], now=datetime.now(UTC), saes=SAES, quota=Quota(1_000_000, 60_000_000, 0))
    folder = sites[SENDER].folder
    value = canonical.parse_object((folder / "kme.json").read_bytes())
    value["device"] = {"backend": "pkcs11", "module": str(pkcs11.usual_module()), "token": FIRST}
    (folder / "kme.json").write_bytes(canonical.format(value))
    pin = str(json.loads((folder / "secrets.json").read_text("utf-8"))["device"]["passphrase"])
    configuration = tmp_path / "softhsm2.conf"
    (tmp_path / "tokens").mkdir()
    configuration.write_text(f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n", "ascii")
    environment = {"SOFTHSM2_CONF": str(configuration)}
    for label in (FIRST, SECOND):
        call = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "5678"]
        subprocess.run(call, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment})
    supervise.start_kmes(tmp_path / "sites", sites=(), environment=environment)
    made = Pair(tmp_path / "sites", sites)
    try:
        yield made
    finally:
        made.close()


def test_a_token_joins_while_keys_are_given_out_and_is_drained_again(pair: Pair) -> None:
    node, broker = pair.node(SENDER), pair.sae("sae-broker")
    pair.await_step()
    pair.bring_file(40)
    assert len(broker.get_keys("sae-sandbox", number=2)) == 2

    added = node.add_device(SECOND, backend="pkcs11")
    assert (added.name, added.state, added.own_process, added.values) == (SECOND, "serving", False, 0)
    with pytest.raises(Refused, match="DEVICE_KNOWN"):
        node.add_device(SECOND, backend="pkcs11")
    with pytest.raises(KeyUnavailable, match="TOKEN_FAILED"):
        node.add_device("third", backend="pkcs11")  # no such token
    assert set(node.overview().devices) == {"home", SECOND}

    pair.bring_file(80, "more.wbki")
    shares = {one.name: one.values for one in node.devices()}
    assert shares[SECOND] > 0 and shares["home"] > 0, "both wrap"
    taken = broker.get_keys("sae-sandbox", number=30)
    there = pair.sae("sae-sandbox").get_keys_by_id("sae-broker", [one.key_id for one in taken])
    assert [one.value for one in there] == [one.value for one in taken]

    left = {one.name: one.values for one in node.devices()}[SECOND]
    assert node.drain_device(SECOND) == left
    assert set(node.overview().devices) == {"home"}
    assert {one.name: one.values for one in node.devices()}.keys() == {"home"}
    rest = broker.get_keys("sae-sandbox", number=node.line(LINE).available)
    assert len({one.key_id for one in rest}) == len(rest) > 0
    pair.await_step()
    until(lambda: {"device.added", "device.drained"} <= {one.kind for one in node.events(limit=500)}, what="told")
    assert pair.node(RECEIVER).line(LINE).in_step
