"""`python -m frontend`: the web page of the fishalive demo, on http://127.0.0.1:8000/ (`HOST`, `PORT`).

The broker is `MACAQUE_BROKER`, the bound Cloud Foundry service, or `amqp://127.0.0.1:5672`. It may start
later. SIGTERM and SIGINT stop the program. The program checks the environment, then runs gunicorn with
frontend/gunicorn.conf.py.
"""

from gevent import monkey

monkey.patch_all()

import argparse
import os
import socket
import sys
from pathlib import Path

from gunicorn.app.wsgiapp import WSGIApplication

import macaque
from frontend.settings import BadSetting, Settings, address
from macaque.logs import FORMATS, LEVELS


def main() -> None:
    """Serve until a signal to stop. An invalid setting gives exit code 2 and one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m frontend", description="Serve the page of the fishalive demo.")
    parser.add_argument("--log-level", choices=LEVELS, help="Log lines of this level and above. [default: info]")
    parser.add_argument("--log-format", choices=FORMATS, help="Log lines of text or JSON objects. [default: text]")
    os.environ.update({f"FRONTEND_{key.upper()}": value for key, value in vars(parser.parse_args()).items() if value})
    try:
        Settings.of(os.environ)
        macaque.Client()
        host, port = address(os.environ)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=256)
    except (BadSetting, TypeError, ValueError) as error:
        parser.exit(2, f"frontend: {error}\n")
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        fix = f"set PORT to a free one, for example PORT={port % 65535 + 1}, or change HOST"
        parser.exit(2, f"frontend: Cannot listen on {host} port {port} ({reason}): {fix}.\n")
    configuration = Path(__file__).with_name("gunicorn.conf.py")
    sys.argv[1:] = ["--config", str(configuration), "--bind", f"fd://{listening.detach()}"]
    WSGIApplication("%(prog)s [OPTIONS]").run()


if __name__ == "__main__":
    main()
