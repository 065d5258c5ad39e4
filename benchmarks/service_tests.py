"""The processor time of a hundred tests of services in memory, each with a broker, a server, a client and a call.

    python benchmarks/service_tests.py

The script writes the tests to a temporary folder and runs them in one pytest, in this process. The time includes the
collection of the tests, and neither the start of Python nor the imports.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import pytest

import macaque.testing  # noqa: F401  (imported before the measurement)

TESTS = """
import pytest

import macaque
import macaque.testing

app = macaque.Server()


@app.service("greet")
def greet(name):
    return f"Hello {name}"


@pytest.mark.parametrize("number", range(100))
def test_greet(number):
    with macaque.testing.client(app) as client:
        assert client.call("greet", number).result() == f"Hello {number}"
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_greet.py").write_text(TESTS)
        began = time.process_time()
        code = pytest.main(["-q", "-p", "no:cacheprovider", folder])
        print(f"{time.process_time() - began:.2f} s of processor time")
    sys.exit(code)


if __name__ == "__main__":
    main()
