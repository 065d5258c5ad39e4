"""The development server: an AMQP 1.0 broker in one process, for development, demonstrations and tests.

Start it with ``python -m mqlight.server``.
"""
