"""The OpenAPI document held against the node by schemathesis: no fault, no undeclared answer, no open door."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    missing_required_header,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from workbench.domain.party import Role
from workbench.host import Workbench
from workbench.node.staff import build_staff_app, openapi_document

from tests.flows.institutions import fresh_workspace, running

HOST = "127.0.0.1:8800"
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    missing_required_header, unsupported_method, ignored_auth,
]  # fmt: skip
"""Not among them: that every value of another JSON type is refused. Numbers written as text are read as numbers."""
load_all_checks()


@pytest.fixture(scope="module")
def node() -> Iterator[Workbench]:
    workspace = fresh_workspace()
    with running(workspace, ("broker",)) as made:
        yield made.nodes["broker"]
    shutil.rmtree(workspace.folder)


@pytest.fixture(scope="module")
def everybody(node: Workbench) -> Any:
    """A person of every role that one person may have, so that each request gets as far as it can."""
    roles = [role for role in Role if role is not Role.REGULATOR]
    return node.people.add(person="everybody", display_name="全岗", roles=roles, password="Korrekt-Pferd-7-Batterie")


@pytest.fixture(scope="module")
def api(node: Workbench) -> Any:
    app = build_staff_app(node, allowed_hosts={HOST, "localhost", "testserver"})
    schema = schemathesis.openapi.from_dict(openapi_document(app))
    schema.app = app
    schema.config.update(base_url=f"http://{HOST}")
    return schema


@pytest.mark.parametrize("examples", [2, pytest.param(20, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_the_node_answers_as_its_document_says(
    api: Any, node: Workbench, everybody: Any, mode: GenerationMode, examples: int
) -> None:
    """Every operation of the document, with requests that fit it and with requests that do not; the plainest of each among them."""
    found: dict[str, str] = {}
    operations = [result.ok() for result in api.get_all_operations()]
    assert len(operations) > 40
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and operation.label == "POST /api/v1/files":
            continue  # any bytes are a file

        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
        @given(case=operation.as_strategy(generation_mode=mode))
        def answers(case: Any) -> None:
            # A ticket of its own for every request: signing out and renewing are among them.
            ticket = node.people._issue(everybody, "command").secret
            case.call_and_validate(headers={"Authorization": f"Bearer {ticket}"}, checks=CHECKS)

        try:
            answers()
        except (Exception, BaseExceptionGroup) as failure:  # noqa: BLE001 - all of them are shown together
            found[operation.label] = str(failure)
    assert not found, "\n\n".join(f"{label}: {text[:1500]}" for label, text in found.items())
