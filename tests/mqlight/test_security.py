"""The rules of `security_options`, and TLS with a real certificate."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from mqlight.errors import InvalidArgumentError, SecurityError
from mqlight.security import Security


@pytest.fixture
def pem(tmp_path):
    """A file that is there and holds no certificate."""
    path = tmp_path / "some.pem"
    path.write_text("not a certificate")
    return str(path)


def refusal(options):
    with pytest.raises(InvalidArgumentError) as caught:
        Security.of(options)
    return str(caught.value)


def test_no_options_mean_nobody_and_full_checks():
    assert Security.of(None) == Security.of({}) == Security()
    assert Security().ssl_verify_name is True


def test_options_are_kept_and_secrets_are_not_shown(pem):
    options = {"user": "me", "password": "hush", "ssl_trust_certificate": pem, "ssl_client_certificate": pem}
    security = Security.of({**options, "ssl_client_key": pem, "ssl_client_key_passphrase": "quiet"})
    assert (security.user, security.password, security.ssl_client_key_passphrase) == ("me", "hush", "quiet")
    assert "hush" not in repr(security)
    assert "quiet" not in repr(security)


def test_options_that_are_no_dict_are_a_type_error():
    with pytest.raises(TypeError, match="security_options is of type str; give a dict"):
        Security.of("me")


def test_an_invalid_option_is_refused_with_its_name_and_the_remedy(pem):
    assert refusal({"colour": 1}).startswith("security_options has no option 'colour'; there are password, ")
    misspelt = "security_options has no option 'pasword'; did you mean password?"
    assert refusal({"user": "me", "pasword": "x"}) == misspelt
    assert refusal({"user": "me", "password": "a\0b"}) == "password has the control character U+0000; remove it"
    half = refusal({"user": "me", "password": "caf\udce9"})
    assert half == "password has half of a surrogate pair; give it as UTF-8"
    assert refusal({"user": "me"}) == "user is given without password; give both or neither"
    assert refusal({"password": "x"}) == "password is given without user; give both or neither"
    assert refusal({"user": 1, "password": "x"}) == "user is of type int; give a str"
    no_file = "ssl_trust_certificate is '/nowhere', which is no file; give the path of a PEM file"
    assert refusal({"ssl_trust_certificate": "/nowhere"}) == no_file
    alone = "a client certificate is given without ssl_trust_certificate; give the trusted authorities as well"
    assert refusal({"ssl_client_certificate": pem}) == alone
    assert refusal({"ssl_verify_name": "z"}) == "ssl_verify_name is 'z'; give True or False"


def test_a_client_key_needs_its_certificate_and_both_must_be_files(pem):
    trust = {"ssl_trust_certificate": pem}
    assert "without ssl_client_certificate" in refusal({**trust, "ssl_client_key": pem})
    message = "ssl_client_certificate is '/nowhere', which is no file; give the path of a PEM file"
    assert refusal({**trust, "ssl_client_certificate": "/nowhere"}) == message


def test_the_context_asks_for_a_certificate_of_that_name_and_modern_tls():
    context = Security().context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname is True
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_the_name_need_not_match_when_so_wished_but_the_certificate_must():
    context = Security.of({"ssl_verify_name": False}).context()
    assert context.check_hostname is False
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_files_without_certificates_are_a_security_error_that_names_them(pem):
    with pytest.raises(SecurityError, match="the file .*some.pem of ssl_trust_certificate cannot be used: "):
        Security(ssl_trust_certificate=pem).context()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for "elsewhere" and its key, encrypted with the passphrase "quiet"."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command: apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    names = str(folder / "certificate.pem"), str(folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2",
         "-subj", "/CN=elsewhere", "-addext", "subjectAltName=DNS:elsewhere", "-addext", "keyUsage=critical,"
         "digitalSignature,keyCertSign", "-out", names[0], "-keyout", names[1], "-passout", "pass:quiet"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return names


def shake_hands(certificate, security, name):
    """The TLS version that a client with this security agrees on with a server that has this certificate."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(*certificate, "quiet")
    near, far = socket.socketpair()

    def serve():
        try:
            server_context.wrap_socket(far, server_side=True).close()
        except OSError:
            far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        near.settimeout(10)
        with security.context().wrap_socket(near, server_hostname=name) as tls:
            return tls.version()
    finally:
        near.close()
        thread.join(10)


def test_a_certificate_of_the_trust_file_is_accepted_for_its_name(certificate):
    security = Security(ssl_trust_certificate=certificate[0])
    assert shake_hands(certificate, security, "elsewhere") in ("TLSv1.2", "TLSv1.3")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(certificate, security, "here")


def test_without_the_name_check_any_name_will_do(certificate):
    security = Security(ssl_trust_certificate=certificate[0], ssl_verify_name=False)
    assert shake_hands(certificate, security, "here")


def test_a_certificate_that_no_authority_of_the_system_signed_is_refused(certificate):
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(certificate, Security(), "elsewhere")


def test_the_passphrase_opens_the_client_key_and_a_wrong_one_is_an_error_at_once(certificate):
    names = {"ssl_trust_certificate": certificate[0], "ssl_client_certificate": certificate[0]}
    names["ssl_client_key"] = certificate[1]
    assert Security(**names, ssl_client_key_passphrase="quiet").context()
    for wrong in ("loud", None):
        with pytest.raises(SecurityError, match="the client certificate .* cannot be used with its key: "):
            Security(**names, ssl_client_key_passphrase=wrong).context()
