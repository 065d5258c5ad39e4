"""Test services in memory: the real services, messages and broker, without a port, a thread or real time.

    import macaque.testing

    with macaque.testing.client(app) as client:
        assert client.call("greet", "Ada").result() == "Hello Ada"

Only the sockets are missing; a test that needs those starts `python -m mqlight.server`. The page docs/testing.md tells
the rest.
"""

from macaque.dead_letter import DeadLetter
from macaque.testing.broker import Broker, Client, Clock, Published, client

__all__ = ["Broker", "Client", "Clock", "DeadLetter", "Published", "client"]
