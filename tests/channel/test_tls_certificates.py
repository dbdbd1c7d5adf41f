"""Certificates of a link: what the TLS library could do with SM2 ones, and why the institutions' are P-256 all the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from OpenSSL import SSL, crypto

from workbench.channel import tls_groups
from workbench.channel.tls_groups import SM2_MLKEM768, SM4_GCM_SM3
from workbench.crypto import tls_material


def test_this_openssl_negotiates_sm2_certificates_and_the_library_that_reads_ours_cannot(tmp_path: Path) -> None:
    """Whoever sees this fail may look again at certificates of links (docs/protocols/qkd-channel.md section 8)."""
    key, certificate = tmp_path / "sm2.key", tmp_path / "sm2.pem"
    for order in (
        ["ecparam", "-name", "SM2", "-genkey", "-noout", "-out", str(key)],
        ["req", "-x509", "-new", "-key", str(key), "-sm3", "-sigopt", "distid:1234567812345678", "-subj", "/CN=sm2", "-days", "2", "-out", str(certificate)],
    ):
        subprocess.run(["openssl", *order], check=True, capture_output=True, timeout=30)  # a tool of the machine, fixed words
    ends = [SSL.Connection(_context(key, certificate), None) for _ in range(2)]
    ends[0].set_connect_state()
    ends[1].set_accept_state()
    done = set()
    for turn in range(8):
        own, other = ends[turn % 2], ends[1 - turn % 2]
        try:
            own.do_handshake()
            done.add(turn % 2)
        except SSL.WantReadError:
            pass
        try:
            while True:
                other.bio_write(own.bio_read(1 << 16))
        except SSL.WantReadError:
            pass
    assert done == {0, 1}
    assert [(one.get_group_name(), one.get_cipher_name()) for one in ends] == [(SM2_MLKEM768, SM4_GCM_SM3)] * 2
    with pytest.raises(UnsupportedAlgorithm):
        tls_material.load_certificate(certificate.read_bytes()).public_key()
    with pytest.raises((UnsupportedAlgorithm, ValueError)):
        tls_material.load_key(key.read_bytes())
    assert isinstance(x509.load_pem_x509_certificate(certificate.read_bytes()), x509.Certificate)


def _context(key: Path, certificate: Path) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.use_privatekey_file(str(key))
    context.use_certificate_file(str(certificate))
    context.check_privatekey()
    tls_groups._choose(context, SM2_MLKEM768, SM4_GCM_SM3)
    store = context.get_cert_store()
    assert store is not None
    store.add_cert(crypto.load_certificate(crypto.FILETYPE_PEM, certificate.read_bytes()))
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, tls_groups._accept_checked)
    return context
