"""Where compiled arithmetic is kept: code that is loaded into this process may be written by nobody else.

Document: key-delivery.md section 5. Call it before the first block; the compiler reads the place when it is loaded.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"
FOLDER = ".compiled"

_log = logging.getLogger(__name__)


def keep_within(site: Path) -> Path:
    """The folder in use: the one the environment names if it is this user's own and private, else one of the site.

    A place named from outside saves several processes of one user the time of compiling the same code.
    """
    named = os.environ.get(VARIABLE, "")
    if named and _is_private(Path(named)):
        return Path(named)
    if named:
        _log.warning("%s is not used: the folder is not private to this user", VARIABLE)
    folder = site / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    os.environ[VARIABLE] = str(folder)
    return folder


def _is_private(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077
