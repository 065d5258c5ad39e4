"""Provide a client's sockets, threads and clock."""
