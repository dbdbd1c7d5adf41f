"""Callers of a pair of KMEs: as others wrote them, as bytes, and as a device behind another line."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

from etsi_qkd_014_client import QKD014Client
from kme_pair import RECEIVER, SENDER, Pair
from workbench_kme.service.client import Ets014Client, ReceivedKey
from workbench_kme.service.tls import client_context
from workbench_kme.sources import BlockTask, SourceContext
from workbench_kme.sources.device_014 import Device014


def third_party(pair: Pair, site: str, sae: str) -> QKD014Client:
    """`etsi-qkd-014-client`, written by others; its errors are whatever JSON the KME sends."""
    clients = pair.sites[site].folder / "clients"
    return QKD014Client(
        pair.sites[site].address, str(clients / f"{sae}.pem"), str(clients / f"{sae}.key"), str(pair.sites[site].folder / "authority.pem")
    )


def request(address: str, context: ssl.SSLContext, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    host, port = address.split(":")
    connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=60)
    try:
        connection.request("GET" if body is None else "POST", path, body=body)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def raw(
    pair: Pair,
    name: str,
    method: str,
    path: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    *,
    site: str = SENDER,
) -> tuple[int, dict[str, str], bytes]:
    """One request as bytes, under a client certificate of a site."""
    known = pair.credentials(site, name)
    context = client_context(known.certificate, known.private_key, known.authority, kme=known.kme)
    host, port = pair.sites[site].address.split(":")
    connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=60)
    try:
        connection.request(method, path, body=body or None, headers=headers or {})
        reply = connection.getresponse()
        return reply.status, {key.lower(): value for key, value in reply.getheaders()}, reply.read()
    finally:
        connection.close()


class Saying:
    """A device in front of a KME: the keys are real, what is said of them is the test's."""

    def __init__(self, client: Ets014Client, said: dict[str, Any]) -> None:
        self.client, self.said = client, said

    def status(self, peer: str) -> dict[str, Any]:
        return self.client.status(peer)

    def get_keys(self, peer: str, *, number: int) -> list[ReceivedKey]:
        return [replace(one, extension=self.said) for one in self.client.get_keys(peer, number=number)]

    def get_keys_by_id(self, peer: str, key_ids: list[str]) -> list[ReceivedKey]:
        return [replace(one, extension=self.said) for one in self.client.get_keys_by_id(peer, key_ids)]

    def close(self) -> None:
        self.client.close()


def trunk(pair: Pair, folder: Path, said: dict[str, Any] | None = None) -> tuple[Device014, Device014]:
    """Both ends of a line whose devices are the KMEs of this pair. said: of each key instead of what the KMEs say."""

    def end(site: str, sae: str, peer: str) -> Device014:
        place, known = folder / site, pair.credentials(site, sae)
        place.mkdir()
        (place / "sae.pem").write_bytes(known.certificate)
        (place / "sae.key").write_bytes(known.private_key)
        options = {
            "address": pair.sites[site].address, "kme": known.kme, "authority": known.authority.decode(),
            "certificate": "sae.pem", "key": "sae.key", "sae": sae, "peer_sae": peer, "batch": 5,
        }  # fmt: skip
        made = Device014(SourceContext("trunk", site == SENDER, options, place, b"", lambda _: False, lambda _: True))
        if said is not None:
            made._client = Saying(made._client, said)  # type: ignore[assignment]  # the same three calls
        return made

    return end(SENDER, "sae-desk", "sae-backup"), end(RECEIVER, "sae-backup", "sae-desk")


def trunk_task(block: int) -> BlockTask:
    return BlockTask(block, 0, bytes(32), ("", 0), None, lambda n: bytes(n))  # type: ignore[arg-type]  # no tags here
