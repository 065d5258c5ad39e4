"""Certificates of every kind that a test needs, made by an authority that nobody else trusts."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Certificates:
    """PEM files in a folder, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA(organization_name="tests")

    @cached_property
    def authority(self) -> str:
        """The file of the authority to trust."""
        path = self._folder / "authority.pem"
        self._authority.cert_pem.write_to_path(path)
        return str(path)

    @cached_property
    def stranger(self) -> str:
        """An authority that signed none of these."""
        path = self._folder / "stranger.pem"
        trustme.CA(organization_name="strangers").cert_pem.write_to_path(path)
        return str(path)

    def host(self, *names: str, days: float | None = None) -> str:
        """A file with a certificate for these host names or addresses, and its key.

        `days` is how long it will be valid, less than nothing for one that has expired; None for very long.
        """
        times = {}
        if days is not None:
            until = datetime.now(timezone.utc) + timedelta(days=days)
            times = {"not_before": until - timedelta(days=90), "not_after": until}
        return self._written(self._authority.issue_cert(*names, **times), f"{names[0]}-{days}")

    def self_signed(self, name: str) -> str:
        """A file with a certificate that vouches for itself, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(timezone.utc)
        made = (
            x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(name))]), critical=False)
            .sign(key, hashes.SHA256())
        )
        path = self._folder / f"self-signed-{name}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(private + made.public_bytes(Encoding.PEM))
        return str(path)

    def client(self, name: str) -> str:
        """A file with a client's certificate of this common name, and its key."""
        return self._written(self._authority.issue_cert("client.example", common_name=name), f"client-{name}")

    def _written(self, made: trustme.LeafCert, name: str) -> str:
        path = self._folder / f"{name}.pem"
        made.private_key_and_cert_chain_pem.write_to_path(path)
        return str(path)
