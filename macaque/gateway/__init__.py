"""The HTTP gateway to services on a broker: `macaque gateway`, served by gunicorn's gevent worker.

A request becomes a call of `macaque.Client` in `macaque.http`. This package decides who may call what, and how much.
"""
