"""Passwords: the node alone signs people in, so its rule and its hashes are the door."""

from __future__ import annotations

import argon2
import pytest

from workbench.crypto import passwords
from workbench.errors import Denied, Refused

pytestmark = pytest.mark.usefixtures("full_cost")


def test_only_the_right_password_opens() -> None:
    encoded = passwords.hash_password("correct horse battery")
    assert encoded.startswith("$argon2id$")
    assert "horse" not in encoded
    passwords.verify_password(encoded, "correct horse battery")
    for wrong in ("correct horse batterY", "", "correct horse battery "):
        with pytest.raises(Denied):
            passwords.verify_password(encoded, wrong)
    with pytest.raises(Denied):
        passwords.verify_password("$argon2id$damaged", "correct horse battery")


def test_a_hash_costs_what_rfc_9106_recommends_second() -> None:
    assert passwords.hash_password("correct horse battery").startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_full_width_input_is_the_same_password() -> None:
    """Chinese input methods produce full-width letters and digits without showing it in a masked field."""
    passwords.verify_password(passwords.hash_password("abc123中文口令xyz"), "ＡＢＣ".lower() + "１２３中文口令xyz")


def test_weaker_parameters_ask_for_a_new_hash() -> None:
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash("correct horse battery")
    assert passwords.needs_rehash(weak)
    assert not passwords.needs_rehash(passwords.hash_password("correct horse battery"))


def test_an_unknown_account_costs_a_real_verification() -> None:
    """The stand-in hash must have today's parameters, or the time tells which accounts exist."""
    passwords.spend_verification_time()
    assert not passwords.needs_rehash(passwords._NOBODY)


@pytest.mark.parametrize(
    "password",
    [
        "", "short-Pass1", "aaaaaaaaaaaaaa", "abababababab", "xyzwxyzwxyzw", "password1234", "P@ssw0rd2024!!", "Passw0rd!!!!!",
        "qwertyuiop123", "1qaz2wsx3edc", "123456789012", "asdfghjkl;'12", "Administrator1", "changeme12345", "zxcvbnmasdfgh",
        "987654321qwert", "workbench2025", "demodemo12345", "bank-broker-2025", "ｐａｓｓｗｏｒｄ１２３４", "x" * 300, "abcdefghijkl",
        "poiuytrewq12", "adminpassword1",
    ],
)  # fmt: skip
def test_guessable_passwords_are_refused_with_a_reason(password: str) -> None:
    with pytest.raises(Refused) as refusal:
        passwords.check_policy(password)
    assert refusal.value.code == "WEAK_PASSWORD"
    assert refusal.value.zh
    assert refusal.value.en
    assert not password or password not in str(refusal.value)


@pytest.mark.parametrize(
    "password", ["correct horse battery", "三更灯火五更鸡正是男儿读书时", "tK9#vLq2!mZx7", "river-lantern-81-moss"]
)
def test_good_passwords_pass(password: str) -> None:
    passwords.check_policy(password, person="li.na")


def test_the_account_name_is_no_password() -> None:
    with pytest.raises(Refused):
        passwords.check_policy("wangxiaoming1", person="wangxiaoming")
    passwords.check_policy("wang and eleven grey herons", person="wang")
