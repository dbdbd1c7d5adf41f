"""attack: rehearse an attack on a copy of one institution's data, in demo and test workspaces."""

from __future__ import annotations

from workbench.client.session import Record
from workbench.commands.common import Options, ProgressLine, client_for, print_result, workspace_of
from workbench.domain.party import Role
from workbench.errors import Refused


def attack(options: Options) -> int:
    """Attack a copy and say what found it; the name "list" shows all. Exit 0 found and located, 1 not found."""
    workspace = workspace_of(options)
    if workspace.kind == "production":
        raise Refused(
            "攻击演练只在演示与测试工作区里有", "Attacks are rehearsed in demo and test workspaces only", code="NOT_IN_PRODUCTION"
        )
    with client_for(workspace, options.party, Role.COMPLIANCE) as client:
        if options.name == "list":
            known: Record = client.call("attack.list")
            lines = [f"{one['name']:<20} {one['zh']} / {one['en']}（{one['check_zh']}）" for one in known["attacks"]]
            print_result(options, known, lines)
            return 0
        line = ProgressLine()
        reply: Record = client.call("attack.run", progress=line, name=options.name)
        line.end()
    mark = "✓" if reply["is_found"] else "✗"
    lines = [f"{mark} {reply['zh']}", f"  {reply['en']}"]
    lines += [f"  · {one['zh']}\n    {one['en']}" for one in reply["findings"]]
    print_result(options, reply, lines)
    return 0 if reply["is_found"] else 1


__all__ = ["attack"]
