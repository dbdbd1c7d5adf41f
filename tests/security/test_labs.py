"""Where a sign-in may return: to a Lab that runs, at exactly the address it was registered with."""

from __future__ import annotations

import socket

from tests.host.house import House
from workbench.jupyter.launch import forget_labs, register_lab


def test_the_address_of_a_lab_that_has_gone_is_no_longer_one_to_return_to(house: House) -> None:
    """Whoever takes its port next would otherwise be handed the codes of people who sign in."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
        register_lab(house.workspace, "broker", f"http://127.0.0.1:{port}/")
        register_lab(house.workspace, "broker", "http://127.0.0.1:9/")
        here = {f"http://{name}:{port}/workbench/callback" for name in ("127.0.0.1", "localhost")}
        assert here < set(house.node.lab_redirects())
    register_lab(house.workspace, "broker", "http://127.0.0.1:9/")
    assert not here & set(house.node.lab_redirects())
    forget_labs(house.workspace, "broker")
    assert house.node.lab_redirects() == []
