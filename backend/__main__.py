"""`python -m backend`: a worker that turns words into upper case. Any number of workers may run.

All workers share the destination `python-back-end` of the topic `mqlight/sample/wordsuppercase`. So each word goes to
exactly one worker, and words that are sent while no worker runs wait for the next one. The broker is
`MACAQUE_BROKER`, the bound Cloud Foundry service, or `amqp://127.0.0.1:5672`. SIGTERM and SIGINT finish the current
word, then stop; a second signal stops at once. `--delay 0.5` is slow motion: each word takes half a second.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import uuid
from typing import NoReturn

import macaque
from macaque.logs import FORMATS, LEVELS, set_up

SERVICE = "mqlight/sample/wordsuppercase"
SHARE_ID = "python-back-end"
CLIENT_ID = "backend_" + uuid.uuid4().hex[:7]

CREDIT = 5
"""Words that this worker holds at a time, so that the next word is here when one is answered."""

log = logging.getLogger("backend")


def fail(error: Exception) -> NoReturn:
    """End with one line on stderr. The environment, or the server that it names, must be changed first."""
    print(f"backend: {error}", file=sys.stderr)
    sys.exit(2)


def seconds(text: str) -> float:
    """Return a number of seconds from 0 to 3600. Raises ValueError."""
    value = float(text)
    if not 0 <= value <= 3600:
        raise ValueError
    return value


parser = argparse.ArgumentParser(prog="python -m backend", description="Run a worker that turns words into upper case.")
parser.add_argument(
    "--delay", type=seconds, default=0.0, metavar="SECONDS", help="Work on each word for SECONDS longer."
)
parser.add_argument(
    "--log-level", choices=LEVELS, default="info", help="Log lines of this level and above. [default: info]"
)
parser.add_argument(
    "--log-format", choices=FORMATS, default="text", help="Log lines of text or JSON objects. [default: text]"
)
options = parser.parse_args(None if __name__ == "__main__" else [])

app = macaque.Server(cid=CLIENT_ID)


# In slow motion the worker holds one word at a time, so that the other workers of the share take the rest.
@app.service(SERVICE, share_id=SHARE_ID, credit=1 if options.delay else CREDIT)
def upper_case(data: object) -> dict[str, str | float]:
    """Take `{"word": str}` and return the word in upper case. Abort with 400 for any other data.

    Returns:
        `{"word": the upper case, "backend": this worker, "workMs": the milliseconds of the work}`.
    """
    began = time.monotonic()
    word = data.get("word") if isinstance(data, dict) else None
    if not isinstance(word, str):
        macaque.abort(400, f'send an object with a "word" that is a string, not {repr(data)[:200]}')
    log.debug("received %r", word)
    time.sleep(options.delay)
    upper = word.upper()
    return {"word": upper, "backend": f"Python: {CLIENT_ID}", "workMs": round((time.monotonic() - began) * 1000, 3)}


if __name__ == "__main__":
    set_up(options.log_level, options.log_format, log.name)
    try:
        app.run()
    except (macaque.ConnectionLost, TypeError, ValueError) as error:
        fail(error)
