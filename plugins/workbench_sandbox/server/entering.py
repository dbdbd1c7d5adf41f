"""The last steps before bubblewrap, in a process of their own: groups, binds, user. `python -I -S entering.py DESCRIPTOR`.

Document: docs/protocols/sandbox.md section 7, `host-user`. Run as it is, without the package: it reads its orders as JSON from a
descriptor, enters the control groups, and where it is root gathers what is to be bound in a mount namespace of its own – so that
closed folders above an image stay closed – and changes to the sandbox's user for good. Then it becomes bubblewrap.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_SLAVE, _MS_NOSUID, _MS_NODEV = 4096, 16384, 1 << 19, 2, 4
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Read the orders, obey them, become the program."""
    os.umask(0o022)  # a node's own is closed: what is gathered for another user has to be readable to it
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        orders: dict[str, Any] = json.loads(file.read())
    libc = ctypes.CDLL(None, use_errno=True)
    for entrance in orders["entrances"]:
        descriptor = os.open(entrance, os.O_WRONLY)
        os.write(descriptor, b"0")
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if orders["gather"]:
        gather(libc, orders["at"], orders["gather"])
    if orders["uid"] >= 0:
        os.setgroups([])
        os.setresgid(orders["gid"], orders["gid"], orders["gid"])
        os.setresuid(orders["uid"], orders["uid"], orders["uid"])
    if os.getuid() == 0 or os.geteuid() == 0:
        raise SystemExit("a sandbox is never started by root")
    # After the change of user, which would clear it. A launcher that died meanwhile is not waited for.
    if orders["dies"]:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != orders["parent"]:
            raise SystemExit("the launcher is gone")
    os.chdir("/")
    os.execve(orders["argv"][0], orders["argv"], {})  # noqa: S606 - by name, without a shell, is what is wanted


def gather(libc: Any, at: str, sources: list[list[str]]) -> None:
    """Bind every source below one folder that anybody may enter, in a namespace that nobody else sees. Raises OSError."""
    check(libc.unshare(_CLONE_NEWNS), "unshare")
    check(libc.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None), "slave")
    # Held in the new namespace, and before anything is mounted over the place where it may lie.
    held = [(os.open(source, os.O_PATH), Path(source).is_dir(), Path(at, name)) for source, name in sources]
    check(libc.mount(b"workbench", at.encode(), b"tmpfs", _MS_NOSUID | _MS_NODEV, b"mode=0755,size=1m"), "tmpfs")
    for descriptor, is_folder, target in held:
        (target if is_folder else target.parent).mkdir(mode=0o755, parents=True, exist_ok=True)
        if not is_folder:
            target.touch(mode=0o644)
        check(libc.mount(f"/proc/self/fd/{descriptor}".encode(), str(target).encode(), None, _MS_BIND | _MS_REC, None), str(target))
        os.close(descriptor)


def check(result: int, what: str) -> None:
    """Raise OSError unless a call of the kernel went well."""
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


if __name__ == "__main__":
    main()
