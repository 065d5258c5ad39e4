"""The process of a gateway: `python -m gevent.monkey --module macaque.gateway`, which `macaque gateway` becomes.

gevent patches Python before anything of this package is imported.
"""

from __future__ import annotations

import sys

import msgspec

from macaque.gateway.serving import Serving
from macaque.gateway.settings import Settings
from macaque.logs import set_up


def main() -> None:
    """Serve with the settings in the arguments: a file descriptor that listens, and the settings as JSON."""
    listening, text = sys.argv[1:]
    settings = msgspec.json.decode(text, type=Settings)
    set_up(settings.log_level, settings.log_format)
    Serving(settings, int(listening)).run()


if __name__ == "__main__":
    main()
