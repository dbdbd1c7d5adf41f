"""A new initial secret of a line's authentication pool: drawn, carried as a file, put into a site's `secrets.json`.

Document: docs/protocols/qkd.md section 5. The entity must not run while its secrets are replaced: it reads them when it starts,
and a block between an end with the new secret and one with the old is an alarm.
"""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Final

from workbench.crypto import canonical, compare, kdf, random
from workbench.errors import Refused, WorkbenchError
from workbench_kme.service import config as site_config
from workbench_kme.service.config import LineSecrets, SiteConfig, SiteSecrets
from workbench_kme.service.sites import AUTHENTICATION_BYTES, write_private

CHECK_BYTES: Final = 10
LEAST_BYTES: Final = 8192
MOST_BYTES: Final = 1 << 20
_KIND: Final = "line-initial-secret"


def draw(source: random.RandomSource = random.SYSTEM) -> bytes:
    """A secret that nobody had before."""
    return source(AUTHENTICATION_BYTES)


def check_value(line: str, secret: bytes) -> str:
    """What people of both ends compare, 20 hexadecimal digits; tells nothing of the secret."""
    return kdf.derive(secret, "kme/initial-secret-check", context=line.encode(), length=CHECK_BYTES).hex()


def write_file(path: Path, line: str, secret: bytes) -> None:
    """The file that is carried to the other end, mode 0600. Raises FileExistsError."""
    write_private(path, canonical.format({"kind": _KIND, "line": line, "secret": secret.hex(), "v": 1}))


def read_file(path: Path, line: str) -> bytes:
    """The secret in a carried file. Raises Refused SECRET_FILE: open to others, of another line, or no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            state = os.fstat(file.fileno())
            if state.st_mode & 0o077 or state.st_uid != os.geteuid() or not stat.S_ISREG(state.st_mode):
                raise _bad_file(path, "他人可读", "it is open to others, it must be 0600")
            data = file.read(2 * MOST_BYTES + 1024)
    except OSError as error:
        raise _bad_file(path, "读不了", "it cannot be read") from error
    try:
        value = canonical.parse_object(data)
        secret = bytes.fromhex(str(value["secret"]))
        if set(value) != {"kind", "line", "secret", "v"} or (value["kind"], value["v"]) != (_KIND, 1):
            raise ValueError("another kind of file")
    except (ValueError, KeyError, WorkbenchError) as error:
        raise _bad_file(path, "不是初始秘密文件", "it holds no initial secret") from error
    if value["line"] != line or not LEAST_BYTES <= len(secret) <= MOST_BYTES or len(secret) % 2:
        raise _bad_file(path, "属于另一条线路，或长度不对", "it is of another line, or its length is wrong")
    return secret


def require_check(line: str, secret: bytes, told: str) -> None:
    """Refused SECRET_CHECK when the value that the other end's people told is another one."""
    if not compare.equal(check_value(line, secret).encode(), "".join(told.split()).lower().encode()):
        raise Refused(
            f"线路 {line} 的初始秘密与对端告知的校验值不符，没有换入：两端重新核对，或由一端重新生成",
            f"the initial secret of line {line} does not have the check value that the other end told; nothing was changed."
            " Both ends compare again, or one end makes another",
            code="SECRET_CHECK",
        )


def is_wrapped(folder: Path) -> bool:
    """Whether the site's secrets need a passphrase. Raises StartRefused."""
    return "sealed" in canonical.parse_object(site_config.read_private(folder, "secrets.json"))


def opened(folder: Path, line: str, passphrase: str) -> tuple[SiteConfig, SiteSecrets]:
    """Configuration and secrets of a site that has this line. Raises Refused NO_LINE, StartRefused, KeyUnavailable."""
    config = site_config.read_config(folder)
    secrets = site_config.parse_secrets(site_config.read_private(folder, "secrets.json"), passphrase)
    if line not in secrets.lines or line not in {one.line for one in config.lines}:
        raise Refused(f"站点 {config.site} 没有线路 {line}", f"site {config.site} has no line {line}", code="NO_LINE")
    return config, secrets


def require_new(secrets: SiteSecrets, line: str, secret: bytes) -> None:
    """Refused SECRET_IN_PLACE when the line has this secret now. One that was used earlier is refused by the entity's mark."""
    if compare.equal(secrets.lines[line].authentication, secret):
        raise Refused(
            f"线路 {line} 已经是这份初始秘密。用过的不能再用，请换一份新的",
            f"line {line} has this initial secret already; one that was used is not used again, bring a new one",
            code="SECRET_IN_PLACE",
        )


def put(folder: Path, line: str, secret: bytes, passphrase: str) -> None:
    """Put a secret in the place of the line's; on disk when it returns. The entity must not run.

    Raises Refused SECRET_IN_PLACE when it is there already, and as `opened`.
    """
    _config, secrets = opened(folder, line, passphrase)
    require_new(secrets, line, secret)
    before = secrets.lines[line]
    changed = replace(secrets, lines={**secrets.lines, line: LineSecrets(secret, before.seed)})
    path, staged = folder / "secrets.json", folder / "secrets.json.new"
    staged.unlink(missing_ok=True)
    write_private(staged, site_config.format_secrets(changed, passphrase))
    staged.replace(path)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _bad_file(path: Path, zh: str, en: str) -> Refused:
    return Refused(f"文件「{path.name}」不能用：{zh}", f"the file {path.name} cannot be used: {en}", code="SECRET_FILE")


__all__ = ["check_value", "draw", "is_wrapped", "opened", "put", "read_file", "require_check", "require_new", "write_file"]
