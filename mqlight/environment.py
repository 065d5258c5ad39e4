"""Environment variables that Kubernetes and container engines set.

Kubernetes, and links of container engines, set variables for each Service in every pod. For a Service called `amqp`
these are `AMQP_PORT=tcp://10.0.0.1:5672` and `AMQP_SERVICE_HOST`. Such variables are never settings of this package.
"""

from __future__ import annotations

import re

__all__ = ["is_service_link"]

_LINK = re.compile(r".+_SERVICE_(HOST|PORT(_\w+)?)|.+_PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?")
_ADDRESS = re.compile(r"(tcp|udp|sctp)://", re.IGNORECASE)


def is_service_link(name: str, value: str) -> bool:
    """Return whether Kubernetes or a container link has set this variable, so that it is not a setting."""
    return _LINK.fullmatch(name) is not None or (name.endswith("_PORT") and _ADDRESS.match(value) is not None)
