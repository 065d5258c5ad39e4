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
    18: "is self-signed and not among those that are trusted; name it in ssl_trust_certificate to trust it",
    19: "was signed by an authority that is not trusted; name that in ssl_trust_certificate to trust it",
    20: "was signed by an authority that is not trusted; name that in ssl_trust_certificate to trust it",
    21: "was signed by an authority that is not trusted; name that in ssl_trust_certificate to trust it",
    23: "has been revoked",
    62: "is for another host name",
    64: "is for another IP address",
}
# The meaning of the server's alerts, by the end of OpenSSL's name for each.
_ALERTS = {
    "CERTIFICATE_REQUIRED": "the server wants a client certificate; give ssl_client_certificate and ssl_client_key",
    "HANDSHAKE_FAILURE": "the server refused the handshake; does it want a client certificate?",
    "UNKNOWN_CA": "the server does not know the authority that signed our client certificate",
    "BAD_CERTIFICATE": "the server refused our client certificate",
    "CERTIFICATE_EXPIRED": "the server says that our client certificate has expired",
    "CERTIFICATE_UNKNOWN": "the server refused our client certificate",
    "PROTOCOL_VERSION": "the server speaks no TLS that is new enough (1.2)",
    "WRONG_VERSION_NUMBER": "the server does not speak TLS on this port; is it for amqp:// URLs?",
    "RECORD_LAYER_FAILURE": "the server does not speak TLS on this port; is it for amqp:// URLs?",
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

    Certificates and keys are names of PEM files. Without `ssl_trust_certificate`, the certificate authorities of the
    system are trusted; with it, only those in the file.
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
                raise InvalidArgumentError(f"{each.name} must be a string argument", argument=each.name)
        for name in ("user", "password"):
            control = control_in(getattr(self, name) or "")
            if control is not None:
                control = control.partition(" ")[0]  # its position would tell something about the password
                raise InvalidArgumentError(f"{name} has the control character {control}; take it out", argument=name)
            if any("\ud800" <= character <= "\udfff" for character in getattr(self, name) or ""):
                # From an environment that is not UTF-8. A later error about the encoding would show the character.
                raise InvalidArgumentError(f"{name} holds half of a surrogate pair; give it as UTF-8", argument=name)
        if (self.user is None) != (self.password is None):
            raise InvalidArgumentError("Both user and password properties must be specified together", argument="user")
        if self.ssl_verify_name not in (True, False):
            raise InvalidArgumentError(
                f"ssl_verify_name value {self.ssl_verify_name} is invalid. Must evaluate to True of False",
                argument="ssl_verify_name",
                value=self.ssl_verify_name,
            )
        client = (self.ssl_client_certificate, self.ssl_client_key, self.ssl_client_key_passphrase)
        if any(part is not None for part in client) and self.ssl_trust_certificate is None:
            raise InvalidArgumentError(
                "Trust certificate is require when client certificate is present", argument="ssl_trust_certificate"
            )
        if any(part is not None for part in client) and self.ssl_client_certificate is None:
            raise InvalidArgumentError(
                "ssl_client_key and ssl_client_key_passphrase need ssl_client_certificate as well",
                argument="ssl_client_certificate",
            )
        for what, name in (
            ("Trust certificate", "ssl_trust_certificate"),
            ("Client certificate", "ssl_client_certificate"),
            ("Client key", "ssl_client_key"),
        ):
            path = getattr(self, name)
            if path is not None and not os.path.isfile(path):
                raise InvalidArgumentError(f"{what} is not a validate accessible file", argument=name, value=path)

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
            raise TypeError(f"security_options must be a dict type not a {type(options)}")
        known = {each.name for each in fields(cls)}
        for name in options:
            if name not in known:
                near = nearest(str(name), known)
                advice = f"Did you mean {near}?" if near else f"There are {', '.join(sorted(known))}."
                raise InvalidArgumentError(
                    f"{printable(name, 80)} is not a valid name for the security options. {advice}", argument=str(name)
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
                f"Failed to load the Trust certificate {self.ssl_trust_certificate} because {error}"
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
                    f"Failed to load the Client certificate {self.ssl_client_certificate} with its key because {error}"
                ) from error
        return context
