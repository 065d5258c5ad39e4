"""Prometheus metrics of clients and servers: `macaque.metrics.observe(client)`, and the text for `/metrics`.

This module needs `prometheus-client`: `pip install 'macaque-amqp[metrics]'`.
"""

from macaque.observe.metrics import exposition, observe

__all__ = ["exposition", "observe"]
