"""The security of a client: its user and TLS.

An invalid value is reported when the object is made, except for faults that only reading the PEM files can find.
No text that this class produces contains a password or a passphrase.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from mqlight.amqp.text import control_in, nearest, printable
from mqlight.errors import InvalidArgumentError, NetworkError, SecurityError

__all__ = ["Security", "tls_error"]

# OpenSSL's numbers for the faults of a certificate (openssl-verification-options(1)).
_CHECKS = {
    9: "is not valid yet (is this machine's clock right?)",
    10: "has expired",
    18: "is self-signed and not trusted; name its file in ssl_trust_certificate to trust it",
    19: "was signed by an authority that is not trusted; name the file of that authority in ssl_trust_certificate",
    20: "was signed by an authority that is not trusted; name the file of that authority in ssl_trust_certificate",
    21: "was signed by an authority that is not trusted; name the file of that authority in ssl_trust_certificate",
    23: "has been revoked",
    62: "is for another host name",
    64: "is for another IP address",
}
# The meaning of the server's alerts, by the end of OpenSSL's name for each.
_ALERTS = {
    "CERTIFICATE_REQUIRED": "the server needs a client certificate; give ssl_client_certificate and ssl_client_key",
    "HANDSHAKE_FAILURE": "the server refused the handshake; it may need a client certificate",
    "UNKNOWN_CA": "the server does not know the authority that signed our client certificate",
    "BAD_CERTIFICATE": "the server refused our client certificate",
    "CERTIFICATE_EXPIRED": "the server says that our client certificate has expired",
    "CERTIFICATE_UNKNOWN": "the server refused our client certificate",
    "PROTOCOL_VERSION": "the server does not support TLS 1.2 or newer",
    "WRONG_VERSION_NUMBER": "the server does not speak TLS on this port; use an amqp:// URL or another port",
    "RECORD_LAYER_FAILURE": "the server does not speak TLS on this port; use an amqp:// URL or another port",
}


def tls_error(url: str, error: ssl.SSLError) -> SecurityError | NetworkError:
    """Return the error for a failure of TLS: the check that failed, or data that was corrupted on its way."""
    if isinstance(error, ssl.SSLCertVerificationError):
        check = _CHECKS.get(error.verify_code, "was refused")
        return SecurityError(f"{url}: the server's certificate {check} ({error.verify_message.rstrip('.')})", url=url)
    reason = error.reason or str(error)
    for name, text in _ALERTS.items():
        if reason.endswith(name):
            return SecurityError(f"{url}: {text}", url=url)
    return NetworkError(f"{url}: TLS failed: {reason.replace('_', ' ').lower()}", url=url)


@dataclass(frozen=True)
class Security:
    """User and TLS, with the names of `security_options` in the MQ Light API.

    Attributes:
        user, password: the login; both or neither.
        ssl_trust_certificate: a PEM file of the trusted authorities; None trusts those of the system.
        ssl_client_certificate: a PEM file of the certificate that stands for this client, None without one.
        ssl_client_key: a PEM file of its key, None if the key is in the file of the certificate.
        ssl_client_key_passphrase: the passphrase of the key, None without one.
        ssl_verify_name: whether the server's certificate must be for the host in the URL.
    """

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ssl_trust_certificate: str | None = None
    ssl_client_certificate: str | None = None
    ssl_client_key: str | None = None
    ssl_client_key_passphrase: str | None = field(default=None, repr=False)
    ssl_verify_name: bool = True

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name != "ssl_verify_name" and value is not None and not isinstance(value, str):
                raise InvalidArgumentError(
                    f"{each.name} is of type {type(value).__name__}; give a str", argument=each.name
                )
        for name in ("user", "password"):
            control = control_in(getattr(self, name) or "")
            if control is not None:
                control = control.partition(" ")[0]  # its position would tell something about the password
                raise InvalidArgumentError(f"{name} has the control character {control}; remove it", argument=name)
            if any("\ud800" <= character <= "\udfff" for character in getattr(self, name) or ""):
                # From an environment that is not UTF-8. A later error about the encoding would show the character.
                raise InvalidArgumentError(f"{name} has half of a surrogate pair; give it as UTF-8", argument=name)
        if (self.user is None) != (self.password is None):
            given, missing = ("password", "user") if self.user is None else ("user", "password")
            raise InvalidArgumentError(f"{given} is given without {missing}; give both or neither", argument="user")
        if self.ssl_verify_name not in (True, False):
            raise InvalidArgumentError(
                f"ssl_verify_name is {self.ssl_verify_name!r}; give True or False",
                argument="ssl_verify_name",
                value=self.ssl_verify_name,
            )
        client = (self.ssl_client_certificate, self.ssl_client_key, self.ssl_client_key_passphrase)
        if any(part is not None for part in client) and self.ssl_trust_certificate is None:
            raise InvalidArgumentError(
                "a client certificate is given without ssl_trust_certificate; give the trusted authorities as well",
                argument="ssl_trust_certificate",
            )
        if any(part is not None for part in client) and self.ssl_client_certificate is None:
            raise InvalidArgumentError(
                "a client key is given without ssl_client_certificate; give the certificate as well",
                argument="ssl_client_certificate",
            )
        for name in ("ssl_trust_certificate", "ssl_client_certificate", "ssl_client_key"):
            path = getattr(self, name)
            if path is not None and not os.path.isfile(path):
                raise InvalidArgumentError(
                    f"{name} is {printable(path, 200)!r}, which is no file; give the path of a PEM file",
                    argument=name,
                    value=path,
                )

    @classmethod
    def of(cls, options: Mapping[str, object] | Security | None) -> Security:
        """Return the security that a `security_options` dict describes.

        Raises:
            TypeError: the options are not a dict.
            InvalidArgumentError: there is no option of a given name, or a value is invalid.
        """
        if isinstance(options, Security):
            return options
        if options is None:
            return cls()
        if not isinstance(options, Mapping):
            raise TypeError(f"security_options is of type {type(options).__name__}; give a dict")
        known = {each.name for each in fields(cls)}
        for name in options:
            if name not in known:
                near = nearest(str(name), known)
                advice = f"did you mean {near}?" if near else f"there are {', '.join(sorted(known))}"
                raise InvalidArgumentError(
                    f"security_options has no option {printable(name, 80)!r}; {advice}", argument=str(name)
                )
        return cls(**options)  # type: ignore[arg-type]  # __post_init__ checks every value

    def context(self) -> ssl.SSLContext:
        """Return a context for TLS 1.2 or later that checks the server's certificate.

        It also checks the server's name, unless `ssl_verify_name` is false.

        Raises:
            SecurityError: a file does not have the contents that its name promises, or the passphrase is wrong.
        """
        try:
            context = ssl.create_default_context(cafile=self.ssl_trust_certificate)
        except (OSError, ValueError) as error:
            raise SecurityError(
                f"the file {self.ssl_trust_certificate} of ssl_trust_certificate cannot be used: {error}"
            ) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = bool(self.ssl_verify_name)
        if self.ssl_client_certificate is not None:
            # Without a passphrase OpenSSL would ask for it on the terminal.
            passphrase = self.ssl_client_key_passphrase or ""
            try:
                context.load_cert_chain(self.ssl_client_certificate, self.ssl_client_key, lambda: passphrase)
            except (OSError, ValueError) as error:
                raise SecurityError(
                    f"the client certificate {self.ssl_client_certificate} cannot be used with its key: {error}"
                ) from error
        return context
