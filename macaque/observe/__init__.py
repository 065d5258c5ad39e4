"""The observation of clients and servers: metrics for Prometheus, and health over HTTP."""
