"""A real EVM node for tests: Anvil, whose binary lies in an npm package, installed once below the ignored build folder."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from workbench.errors import PeerUnavailable
from workbench_anchor import registrar
from workbench_anchor.chain import Account, EvmChain, TransactionReceipt, library
from workbench_anchor.notes import origin_id
from workbench.domain.party import PartyId

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "build" / "anchor-tools"
PACKAGES = ("@foundry-rs/anvil@1.7.1", "solc@0.8.37")
CHAIN_ID = 20261122
RICH = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
"""The first account that every Anvil makes from its published test mnemonic: the regulator of these tests."""


def node_modules() -> Path:
    """The folder with both packages; skips by name where npm is missing or cannot install them."""
    folder = TOOLS / "node_modules"
    TOOLS.mkdir(parents=True, exist_ok=True)
    with (TOOLS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes share the folder
        if (TOOLS / "installed").exists() and (TOOLS / "installed").read_text() == " ".join(PACKAGES):
            return folder
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("npm is not installed")
        command = [npm, "install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(
            [*command, "--prefix", str(TOOLS), *PACKAGES], capture_output=True, text=True, timeout=240
        )
        if done.returncode:
            pytest.skip(f"npm could not install {' '.join(PACKAGES)}")
        (TOOLS / "installed").write_text(" ".join(PACKAGES))
    return folder


def anvil_binary() -> Path:
    found = sorted(node_modules().glob("@foundry-rs/anvil-*/bin/anvil*"))
    if not found:
        pytest.skip("npm has no anvil for this machine")
    return found[0]


class Anvil:
    """One running chain. Every transaction makes a block; `mine` makes empty ones."""

    def __init__(self, folder: Path, *, port: int = 0, state: Path | None = None, chain_id: int = CHAIN_ID) -> None:
        self.port = port or free_port()
        self.folder = folder
        command = [str(anvil_binary()), "--port", str(self.port), "--chain-id", str(chain_id), "--silent"]
        if state is not None:
            command += ["--load-state", str(state)]
        folder.mkdir(exist_ok=True)
        self._process = subprocess.Popen(command, cwd=folder, env={**os.environ, "HOME": str(folder)})
        self.url = f"http://127.0.0.1:{self.port}"
        self.chain = EvmChain(self.url, timeout_s=10)
        self.regulator = Account.from_key(RICH)
        ends = time.monotonic() + 60
        while True:
            try:
                self.chain.chain_id()
                return
            except PeerUnavailable:
                if time.monotonic() > ends or self._process.poll() is not None:
                    self.stop()
                    raise
                time.sleep(0.05)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)

    def ask(self, method: str, *parameters: object) -> object:
        """Any method of the node, its own test methods too."""
        answer = library("web3").HTTPProvider(self.url, exception_retry_configuration=None).make_request(method, list(parameters))
        assert "error" not in answer, answer
        return answer["result"]

    def mine(self, blocks: int) -> None:
        self.ask("anvil_mine", hex(blocks))

    def send(self, account: Account, to: bytes, data: bytes, *, gas: int = 0) -> TransactionReceipt:
        """A transaction in a block of its own; gas: given to send one that fails."""
        chain = self.chain
        limit = gas or chain.estimate(account.address, to, data) * 5 // 4
        nonce = chain.used_nonces(account.address, pending=True)
        signed = account.sign(
            chain_id=chain.chain_id(), nonce=nonce, to=to, data=data, gas=limit, gas_price=chain.gas_price()
        )
        chain.send(signed.raw)
        ends = time.monotonic() + 30
        while (receipt := chain.receipt(signed.hash)) is None:
            assert time.monotonic() < ends
            time.sleep(0.01)
        return receipt

    def deploy(self) -> bytes:
        """A fresh contract of the regulator; its address."""
        return registrar.deploy(self.chain, self.regulator)

    def register(self, address: bytes, project: str, party: str, account: Account) -> None:
        """Give an account money for fees and register it for a log."""
        self.ask("anvil_setBalance", "0x" + account.address.hex(), hex(10**18))
        registrar.register(
            self.chain,
            self.regulator,
            address=address,
            origin=origin_id(project, PartyId(party)),
            sender=account.address,
        )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
