"""The web console of the development server: the fate of each message, live, in a browser."""

PORT = 9180
"""The default port, as MQ Light's was."""
