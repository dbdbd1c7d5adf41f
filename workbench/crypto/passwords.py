"""Passwords of staff: argon2id (RFC 9106) and the rule which passwords are accepted at all."""

from __future__ import annotations

import string
import unicodedata

import argon2

from workbench.errors import Denied, Refused

MIN_LENGTH = 12
MAX_LENGTH = 256

# RFC 9106 section 4, second recommended option: 64 MiB, three passes, four lanes.
_HASHER = argon2.PasswordHasher(
    time_cost=3, memory_cost=64 * 1024, parallelism=4, hash_len=32, salt_len=16, type=argon2.Type.ID
)

# Roots of passwords that guessers try first, compared after case, digits and signs are taken away; and the words this
# product itself puts into people's heads. A password that is nothing but one of them with trimmings is refused.
_COMMON_TEXT = """
password passwort passw0rd letmein welcome iloveyou admin administrator adminadmin root rootroot toor guest test
testtest tester testing default changeme changeit secret master superuser monkey dragon football baseball
sunshine princess shadow michael jennifer jordan trustno hello helloworld woaini woaiwojia mima wodemima qwerty
qwertyuiop asdfgh asdfghjkl zxcvbn zxcvbnm abcdef abcdefgh abc login user username workbench evidence
evidenceworkbench jupyter jupyterlab broker cardnet bank marketing approver compliance operator auditor
regulator demo demodemo
"""
_COMMON = frozenset(_COMMON_TEXT.split())

# Rows and columns of a keyboard, the alphabet and the digits; a walk is a stretch of one of them, either way.
_WALKS = (
    "1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertyuiopasdfghjklzxcvbnm", "abcdefghijklmnopqrstuvwxyz",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p", "qazwsxedcrfvtgbyhnujmikolp", "147258369", "789456123", "0123456789",
)  # fmt: skip
_WALK_STRETCH = 4
_TRIMMINGS = string.digits + string.punctuation + string.whitespace
_LOOKALIKES = str.maketrans({"@": "a", "4": "a", "$": "s", "5": "s", "0": "o", "1": "i", "!": "i", "3": "e", "7": "t"})


def hash_password(password: str) -> str:
    """The encoded argon2id hash, with its own salt and parameters, for storage. Cost: about 0.1 s and 64 MiB."""
    return _HASHER.hash(_normalise(password))


def verify_password(encoded: str, password: str) -> None:
    """Return if `password` belongs to `encoded`. Raises Denied, one code for every cause. Cost: as `hash_password`."""
    try:
        _HASHER.verify(encoded, _normalise(password))
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHash) as error:
        raise Denied("账号或密码不正确", "the account or the password is wrong", code="WRONG_PASSWORD") from error


def needs_rehash(encoded: str) -> bool:
    """Whether `encoded` was made with weaker parameters than today's; then hash again after the next sign-in."""
    return _HASHER.check_needs_rehash(encoded)


def spend_verification_time() -> None:
    """Do the work of one verification for an account that does not exist, so that the time does not tell."""
    try:
        _HASHER.verify(_NOBODY, "x")
    except argon2.exceptions.VerifyMismatchError:
        return


def check_policy(password: str, *, person: str = "") -> None:
    """Return if `password` may be used by `person`. Raises Refused with code WEAK_PASSWORD and the reason.

    At least 12 characters, at most 256; at least five different ones; not a common password with trimmings; not made
    of keyboard walks; not built around the account's own name.
    """
    text = _normalise(password)
    folded = text.casefold()
    if len(text) < MIN_LENGTH:
        raise _weak("密码至少 12 个字符", "a password has at least 12 characters")
    if len(text) > MAX_LENGTH:
        raise _weak("密码最多 256 个字符", "a password has at most 256 characters")
    if len(set(folded)) < 5 or _is_repetition(folded):
        raise _weak("密码重复太多", "the password repeats itself too much")
    if person and person.casefold() in folded and len(folded) - len(person) < 8:
        raise _weak("密码不能以账号名为主", "the password is mostly the account's name")
    if _is_common(folded):
        raise _weak("密码属于常见密码", "this is a common password")
    if _walk_share(folded) > 0.6:
        raise _weak("密码是键盘上相邻的按键", "the password walks along the keyboard")


def _normalise(password: str) -> str:
    """One spelling for what looks the same, whatever the input method produced (NFKC)."""
    return unicodedata.normalize("NFKC", password)


def _is_repetition(text: str) -> bool:
    return any(
        len(text) % size == 0 and text == text[:size] * (len(text) // size) for size in range(1, len(text) // 2 + 1)
    )


def _is_common(folded: str) -> bool:
    core = folded.strip(_TRIMMINGS)
    letters = "".join(letter for letter in core if letter.isalpha())
    lookalike = "".join(letter for letter in core.translate(_LOOKALIKES) if letter.isalpha())
    return letters in _COMMON or lookalike in _COMMON or _is_two_common(letters)


def _is_two_common(plain: str) -> bool:
    return any(plain[:cut] in _COMMON and plain[cut:] in _COMMON for cut in range(3, len(plain) - 2))


def _walk_share(folded: str) -> float:
    """The share of characters that lie in a keyboard walk of at least four keys, forwards or backwards."""
    covered = [False] * len(folded)
    for start in range(len(folded) - _WALK_STRETCH + 1):
        stretch = folded[start : start + _WALK_STRETCH]
        if any(stretch in walk or stretch[::-1] in walk for walk in _WALKS):
            covered[start : start + _WALK_STRETCH] = [True] * _WALK_STRETCH
    return sum(covered) / len(folded)


def _weak(zh: str, en: str) -> Refused:
    return Refused(zh, en, code="WEAK_PASSWORD")


_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$d29ya2JlbmNoLW5vYm9keQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
