from __future__ import annotations

from typing import Any

import msgspec
import pytest

from macaque.gateway.settings import Settings

HERE = {"allow": ("todo/#",)}


@pytest.mark.parametrize(
    "options, has_tokens, said",
    [
        ({}, False, "nothing is allowed"),
        ({"allow": ("macaque/services",)}, False, "private"),
        ({"allow": ("a\0b",)}, False, "control character"),
        ({**HERE, "public": True}, True, "choose one of both"),
        ({**HERE, "host": "0.0.0.0"}, False, "every program that reaches 0.0.0.0"),
        ({**HERE, "host": "::"}, False, "every program"),
        ({**HERE, "host": "gateway.example.com"}, False, "every program"),
        ({**HERE, "proxies": 1}, False, "--proxies 1 lets callers in"),
        ({**HERE, "cors": ("*",)}, False, "every page on the web"),
        ({**HERE, "cors": ("shop.example.com",)}, False, "not an origin"),
        ({**HERE, "cors": ("https://shop.example.com/",)}, False, "not an origin"),
        ({**HERE, "hostnames": ("",)}, False, "not a host name"),
        ({**HERE, "hostnames": ("https://shop.example.com",)}, False, "not a host name"),
        ({**HERE, "workers": 2, "health_port": 9000}, False, "cannot share the health port"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(options: Any, has_tokens: bool, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Settings(**options).check(has_tokens)


@pytest.mark.parametrize(
    "options, has_tokens",
    [
        (HERE, False),
        ({"subscribe": ("news/#",)}, False),
        ({**HERE, "host": "::1"}, False),
        ({**HERE, "host": "localhost"}, False),
        ({**HERE, "host": "0.0.0.0"}, True),
        ({**HERE, "host": "0.0.0.0", "public": True}, False),
        ({**HERE, "public": True, "cors": ("*",)}, False),
        ({**HERE, "proxies": 1}, True),
        ({**HERE, "cors": ("https://shop.example.com", "http://localhost:3000", "http://[::1]:80")}, False),
        ({**HERE, "hostnames": ("shop.example.com", ".Example.com", "b\xfccher.example:80")}, False),
        ({**HERE, "workers": 2, "health_port": 0}, False),
    ],
)
def test_settings_that_fit_pass_and_survive_json(options: Any, has_tokens: bool) -> None:
    settings = Settings(**options)
    settings.check(has_tokens)
    assert msgspec.json.decode(msgspec.json.encode(settings), type=Settings) == settings
