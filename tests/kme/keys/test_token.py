"""The key-encryption key in a SoftHSM2 token: not to be read, not to be had without the PIN, and never one that could be."""

from __future__ import annotations

import json
from pathlib import Path

import pkcs11
import pytest

from workbench.errors import KeyUnavailable, VerificationError

from workbench_kme.devices import pkcs11 as token
from workbench_kme.devices.group import DeviceGroup, InProcess
from workbench_kme.devices.wrapping import kek_of
from workbench_kme.keys import Provenance

from key_world import PIN, TOKEN, End, make_device, needs_softhsm, token_module

pytestmark = needs_softhsm


def test_the_tokens_kek_cannot_be_read_and_a_wrong_pin_opens_nothing(token_folder: Path) -> None:
    path = token_folder / "second"
    with token.create_token(path, PIN, module=token_module(), token=TOKEN) as made:
        wrapped = made.open_session().wrap("key", bytes(32), b"c")
        for attribute in (pkcs11.Attribute.VALUE,):
            with pytest.raises(pkcs11.exceptions.PKCS11Error):
                made._backend._key[attribute]
    with token.open_token(path, PIN, module=token_module(), token=TOKEN) as again:
        assert again.open_session().unwrap("key", wrapped, b"c") == bytes(32)
    with pytest.raises(KeyUnavailable, match="TOKEN_FAILED"):
        token.open_token(path, "9999", module=token_module(), token=TOKEN)
    with pytest.raises(KeyUnavailable, match="TOKEN_FAILED"):
        token.open_token(path, PIN, module=token_module(), token="nobody")


def test_a_kek_that_the_token_would_give_out_is_refused(token_folder: Path) -> None:
    path = token_folder / "third"
    token.create_token(path, PIN, module=token_module(), token=TOKEN).close()
    kek_id = bytes.fromhex(json.loads(path.read_bytes())["kek"])
    with pkcs11.lib(str(token_module())).get_token(token_label=TOKEN).open(user_pin=PIN, rw=True) as session:
        session.get_key(label=token.LABEL, id=kek_id).destroy()
        weak = {pkcs11.Attribute.SENSITIVE: False, pkcs11.Attribute.EXTRACTABLE: True}
        session.generate_key(
            pkcs11.KeyType.AES, 256, id=kek_id, label=token.LABEL, store=True, template=token._TEMPLATE | weak
        )
    with pytest.raises(KeyUnavailable, match="KEK_EXTRACTABLE"):
        token.open_token(path, PIN, module=token_module(), token=TOKEN)


def test_a_key_store_lives_on_a_token(token_folder: Path, folder: Path) -> None:
    with token.create_token(token_folder / "fourth", PIN, module=token_module(), token=TOKEN) as device:
        end = End(folder / "a", "KME-A", device.open_session())
        added = end.store.add_block("line-1", 0, Provenance.SIMULATED, bytes(range(64)))
        end.store.confirm_block("line-1", 0, added.check)
        key_ids = end.store.reserve("line-1", "app-a", ["app-b"]).key_ids
        assert bytes(end.store.hand_out(key_ids, "app-a")[0].value) == bytes(range(32))
        end.close()


def test_a_token_works_beside_a_soft_device(token_folder: Path) -> None:
    pairs = [(bytes([n]) * 32, b"c") for n in range(8)]
    with make_device(b"home") as home, token.create_token(token_folder / "fifth", PIN, module=token_module(), token=TOKEN) as made:
        group = DeviceGroup(home)
        group.add("token", InProcess(made))
        wrapped = group.wrap_many("key", pairs)
        assert [kek_of(one) for one in wrapped].count(made.kek_id) == 4
        assert [bytes(one) for one in group.unwrap_many("key", [(one, b"c") for one in wrapped])] == [value for value, _ in pairs]
        with pytest.raises(VerificationError, match="SEAL_BROKEN"):
            home.open_session().unwrap("key", wrapped[2], b"c")
