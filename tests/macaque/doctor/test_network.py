from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from certificates import Certificates
from examining import examine, failures, tls
from processes import Server


def test_nobody_listens(free_port: int) -> None:
    findings = examine("--broker", f"amqp://127.0.0.1:{free_port}", status=1)
    assert [finding["step"] for finding in findings] == ["name", "tcp"]
    assert failures(findings) == {"tcp": f"no program listens on port {free_port}"}


def test_a_host_without_an_address() -> None:
    assert "no.such.invalid has no address" in failures(examine("--broker", "amqp://no.such.invalid", status=1))["name"]


def test_a_lookup_that_does_not_answer(free_port: int) -> None:
    said = failures(examine("--broker", f"http://127.0.0.1:{free_port}/lookup", status=1))
    assert "could not be reached" in said["name"]


def test_tls_says_what_the_certificate_is_for_and_when_it_expires(
    started: Callable[..., Server], certificates: Certificates
) -> None:
    url = tls(started, certificates.host("127.0.0.1"))
    findings = examine("--broker", url, SSL_CERT_FILE=certificates.authority)
    (said,) = (finding["said"] for finding in findings if finding["step"] == "tls")
    assert re.match(r"TLSv1\.3; the certificate is trusted, is for 127\.0\.0\.1, and expires on \d{4}-\d\d-\d\d", said)


@pytest.mark.parametrize(
    ("fault", "said", "advice"),
    [
        ("stranger", "signed by an authority that is not trusted", "SSL_CERT_FILE"),
        ("expired", "has expired", "a new certificate"),
        ("name", "is for another IP address", "use the host name in the certificate"),
    ],
)
def test_a_certificate_that_is_refused(
    started: Callable[..., Server], certificates: Certificates, fault: str, said: str, advice: str
) -> None:
    host = "127.0.0.2" if fault == "name" else "127.0.0.1"
    url = tls(started, certificates.host(host, days=-1 if fault == "expired" else None))
    trusted = certificates.stranger if fault == "stranger" else certificates.authority
    findings = examine("--broker", url, status=1, SSL_CERT_FILE=trusted)
    assert list(failures(findings)) == ["tls"]
    assert said in findings[-1]["said"] and advice in findings[-1]["advice"]


def test_a_certificate_that_ends_soon_is_a_warning(started: Callable[..., Server], certificates: Certificates) -> None:
    url = tls(started, certificates.host("127.0.0.1", days=9.5))
    findings = examine("--broker", url, SSL_CERT_FILE=certificates.authority)
    (warning,) = (finding for finding in findings if finding["status"] == "warning")
    assert warning["step"] == "tls" and warning["said"].endswith("in 9 days")


def test_the_scheme_of_the_url_does_not_fit_the_port(
    server: Server, started: Callable[..., Server], certificates: Certificates
) -> None:
    plain = examine("--broker", server.url.replace("amqp:", "amqps:"), status=1)
    assert "does not speak TLS on this port" in failures(plain)["tls"] and "amqp://" in plain[-1]["advice"]
    url = tls(started, certificates.host("127.0.0.1"))
    secure = examine("--broker", url.replace("amqps:", "amqp:"), status=1)
    assert failures(secure) == {"tls": "the server speaks TLS on this port; use an amqps:// URL"}
    assert secure[-1]["advice"] == "use an amqps:// URL"
