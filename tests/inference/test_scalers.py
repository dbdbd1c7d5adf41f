"""Scaler `ray-serve` against a recorded exchange; with a local Ray in `make soak`, where one is installed.

The recording (tests/vectors/ray-serve.json) says of which version it is. No Ray runs in this test but in the last one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from workbench_inference.leasing.scalers import PATH, RayServe, over_http, with_replicas

from workbench.errors import PeerError, PeerUnavailable, Refused

RECORDED = json.loads((Path(__file__).parents[1] / "vectors" / "ray-serve.json").read_text("utf-8"))
ADDRESS = "http://127.0.0.1:8265"


class Recording:
    """Answers as Ray Serve did, and keeps what it was sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def __call__(self, method: str, address: str, body: bytes) -> bytes:
        assert address == ADDRESS + PATH
        if method == "PUT":
            self.sent.append(json.loads(body))
            return str(RECORDED["put_reply"]).encode()
        return json.dumps(RECORDED["after" if self.sent else "before"]).encode()


def test_replicas_go_from_one_to_three_by_the_recorded_configuration_and_no_replica_is_replaced() -> None:
    recording = Recording()
    scaler = RayServe(ADDRESS, "answers", "Answer", exchange=recording)
    assert (scaler.replicas(), scaler.ready()) == (1, 1)
    scaler.set_replicas(3)
    assert recording.sent == [RECORDED["put"]], "what was sent is what Serve took, byte for byte as JSON"
    assert (scaler.replicas(), scaler.ready()) == (3, 3)

    def running(status: dict[str, Any]) -> set[str]:
        return {one["replica_id"] for one in status["applications"]["answers"]["deployments"]["Answer"]["replicas"] if one["state"] == "RUNNING"}

    assert running(RECORDED["before"]) < running(RECORDED["after"]), "the replica that ran lives on: it may hold a lease"


def test_while_serve_builds_the_application_none_is_ready() -> None:
    building = json.loads(json.dumps(RECORDED["before"]))
    building["applications"]["answers"]["deployments"] = {}
    assert RayServe(ADDRESS, "answers", "Answer", exchange=lambda method, address, body: json.dumps(building).encode()).ready() == 0


def test_what_would_replace_replicas_or_fight_another_rule_is_refused() -> None:
    recording = Recording()
    for application, deployment in (("other", "Answer"), ("answers", "Other")):
        with pytest.raises((Refused, PeerError)):
            RayServe(ADDRESS, application, deployment, exchange=recording).set_replicas(2)
    config = RECORDED["before"]["applications"]["answers"]["deployed_app_config"]
    auto = {**config, "deployments": [{"name": "Answer", "num_replicas": "auto"}]}
    with pytest.raises(Refused, match="RAY_SERVE"):
        with_replicas(auto, "Answer", 2)
    by_code = json.loads(json.dumps(RECORDED["before"]))
    by_code["applications"]["answers"]["deployed_app_config"] = None
    with pytest.raises(Refused, match="RAY_SERVE"):
        RayServe(ADDRESS, "answers", "Answer", exchange=lambda method, address, body: json.dumps(by_code).encode()).set_replicas(2)
    assert recording.sent == [] and config["deployments"][0]["num_replicas"] == 1
    with pytest.raises(Refused, match="RAY_ADDRESS"):
        RayServe("file:///etc/passwd", "answers", "Answer")


@pytest.mark.parametrize("reply", [b"", b"[]", b"{}", b'{"applications": 3}', b'{"applications": {"answers": {"deployed_app_config": {"deployments": [{"name": "Answer"}]}}}}'])
def test_an_answer_that_is_none_of_serves_is_a_failure_of_the_partner(reply: bytes) -> None:
    with pytest.raises((PeerError, Refused)):
        RayServe(ADDRESS, "answers", "Answer", exchange=lambda method, address, body: reply).replicas()


def test_a_token_that_others_may_read_is_not_used_and_a_dashboard_that_is_away_is_said_so(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o644)
    with pytest.raises(Refused, match="FOLDER_OPEN"):
        over_http(str(token))("GET", "http://127.0.0.1:9/", b"")
    token.chmod(0o600)
    with pytest.raises(PeerUnavailable):
        over_http(str(token))("GET", "http://127.0.0.1:9/", b"")


@pytest.mark.soak
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray[serve] is not installed here: the recorded exchange stands for it")
def test_a_local_ray_scales_from_one_to_three_and_back_and_keeps_the_first_replica(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray: Any = importlib.import_module("ray")
    (tmp_path / "answering.py").write_text(
        "from ray import serve\n\n\n@serve.deployment(num_replicas=1)\nclass Answer:\n    async def __call__(self, request):\n        return 'ok'\n\n\napp = Answer.bind()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}}
    ray.init(num_cpus=4, include_dashboard=True, dashboard_port=8769, log_to_driver=False, runtime_env=environment)
    try:
        address = "http://127.0.0.1:8769"
        config = {"applications": [{"name": "answers", "route_prefix": "/", "import_path": "answering:app", "deployments": [{"name": "Answer", "num_replicas": 1}]}]}
        over_http()("PUT", address + PATH, json.dumps(config).encode())
        scaler = RayServe(address, "answers", "Answer")
        for count in (1, 3, 1):
            scaler.set_replicas(count)
            ends = time.monotonic() + 180
            while scaler.ready() != count or scaler.replicas() != count:
                assert time.monotonic() < ends, f"{count} replicas did not come"
                time.sleep(0.5)
    finally:
        ray.shutdown()
