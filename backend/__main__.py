"""`python -m backend`: a worker that turns words into upper case; start as many as you like.

All workers share the destination `python-back-end` of the topic `mqlight/sample/wordsuppercase`, so each word goes to
exactly one of them, and words sent while none is running wait for the next one. The server to connect to is
`MACAQUE_BROKER`, the bound Cloud Foundry service, or `amqp://127.0.0.1:5672`. SIGTERM and SIGINT finish the word in
hand, then stop; a second one stops at once.
"""

from __future__ import annotations

import logging
import sys
import uuid
from typing import NoReturn

import macaque

SERVICE = "mqlight/sample/wordsuppercase"
SHARE_ID = "python-back-end"
CLIENT_ID = "backend_" + uuid.uuid4().hex[:7]

log = logging.getLogger("backend")


def fail(error: Exception) -> NoReturn:
    """End with one line on stderr: the environment, or the server that it names, has to be changed first."""
    print(f"backend: {error}", file=sys.stderr)
    sys.exit(2)


try:
    app = macaque.Server(cid=CLIENT_ID)
except (TypeError, ValueError) as error:
    fail(error)


# One word at a time: a slow worker holds back one word, and the others of the share take the rest.
@app.service(SERVICE, share_id=SHARE_ID, credit=1)
def upper_case(data: object) -> dict[str, str]:
    """Take `{"word": str}` and return `{"word": its upper case, "backend": who did it}`; abort with 400 otherwise."""
    word = data.get("word") if isinstance(data, dict) else None
    if not isinstance(word, str):
        macaque.abort(400, f'send an object with a "word" that is a string, not {repr(data)[:200]}')
    log.info("received %r", word)
    return {"word": word.upper(), "backend": f"Python: {CLIENT_ID}"}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        app.run()
    except macaque.ConnectionLost as error:
        fail(error)
