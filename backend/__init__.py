"""The worker of the fishalive demo: one service that turns a word into upper case. Run it with `python -m backend`."""
