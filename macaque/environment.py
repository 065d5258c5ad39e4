"""Names of environment variables: the settings of a program, and the variables that other programs set."""

from mqlight.amqp.text import nearest
from mqlight.environment import is_service_link

__all__ = ["is_service_link", "nearest"]
