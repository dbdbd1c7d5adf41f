"""The line of one customer's consent: form, list, use and withdrawal in order, and no identifier on it."""

from __future__ import annotations

import pytest

from workbench.domain.party import Role
from workbench.errors import InvalidRequest

from tests.flows import population
from tests.flows.institutions import Institutions

PERSON = 99


def test_a_customers_line_tells_form_use_and_withdrawal_in_order_of_time(three: Institutions, purpose: str) -> None:
    job, _ = three.run("broker", "bank", purpose)
    before = three.call("broker", Role.COMPLIANCE, "consent.life_line", phone=population.phone(PERSON))
    uses = [one for one in before.events if one.step == "use" and one.details.get("job") == job.job]
    assert len(uses) == 1 and uses[0].details["purpose"] == purpose and uses[0].details["partner"] == "bank"
    assert any(one.step == "consent" and one.details["purpose"] == purpose for one in before.events)
    assert not [one for one in before.events if one.details.get("purpose") == purpose and one.step == "withdrawal"]
    three.call(
        "broker", Role.COMPLIANCE, "consent.withdraw", phone=population.phone(PERSON), purpose=purpose, recipient="bank"
    )
    after = three.call("broker", Role.COMPLIANCE, "consent.life_line", id_no=population.id_no(PERSON))
    steps = [one.step for one in after.events if one.details.get("purpose") == purpose and one.details.get("recipient") != "cardnet"]
    assert steps.index("consent") < steps.index("use") < steps.index("withdrawal")
    times = [one.at_ms for one in after.events if one.at_ms]
    assert times == sorted(times) and sum(after.counts.values()) == len(after.events) + after.left_out
    text = before.model_dump_json() + after.model_dump_json()
    assert population.phone(PERSON) not in text and population.id_no(PERSON) not in text


def test_a_line_of_nobody_in_particular_is_refused(three: Institutions) -> None:
    with pytest.raises(InvalidRequest):
        three.call("broker", Role.COMPLIANCE, "consent.life_line")
