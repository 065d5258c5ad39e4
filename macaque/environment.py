"""Names of environment variables: the settings of a program, and the variables that others set."""

from mqlight.wire.environment import is_service_link
from mqlight.wire.text import nearest

__all__ = ["is_service_link", "nearest"]
