"""Measure `app.wsgi` under gunicorn's threads against the same function in Flask.

    python benchmarks/web_application.py [ROUNDS] [SECONDS]

One worker process with eight threads serves, and eight connections of another process call. The two applications take
turns. For each, the script prints calls per second and the processor time of the worker for one call, then the medians
and their ratios. Flask comes with the extra `test`.
"""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

CALLERS = 8
BODY, ANSWER = b'{"word":"alive"}', b'{"word":"ALIVE"}'
WARM_UP = 0.5
PROGRAM = """
import flask
import macaque

app = macaque.Server()


@app.service("upper", credit=8)
def upper(data):
    return {"word": data["word"].upper()}


macaque_wsgi = app.wsgi
flask_wsgi = flask.Flask("upper")
flask_wsgi.json.compact = True


@flask_wsgi.post("/upper")
def flask_upper():
    return {"word": flask.request.get_json()["word"].upper()}
"""


def processor_time(pid: int) -> float:
    """Return the seconds of processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def call(port: int, until: float, counts: list[int]) -> None:
    """Call until a time. Append the number of calls. Raises AssertionError: an answer is wrong."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers, count = {"Content-Type": "application/json"}, 0
    while time.monotonic() < until:
        connection.request("POST", "/upper", BODY, headers)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200 and body.strip() == ANSWER, (answer.status, body)
        count += 1
    connection.close()
    counts.append(count)


def load(port: int, seconds: float) -> int:
    """Return the number of calls of all callers in so many seconds."""
    counts: list[int] = []
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=call, args=(port, until, counts)) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counts) == CALLERS, "a caller failed"
    return sum(counts)


def measure(name: str, folder: str, seconds: float) -> tuple[float, float]:
    """Return calls per second and the worker's processor time for a call, in microseconds."""
    command = f"-m gunicorn --worker-class gthread --threads {CALLERS} --keep-alive 60 --bind 127.0.0.1:0 upper:{name}"
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    process = subprocess.Popen(
        [sys.executable, *command.split()], cwd=folder, env=environ, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        port = worker = 0
        while not worker:
            line = process.stderr.readline()
            assert line, "gunicorn ended"
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                port = int(found[1])
            elif found := re.search(r"Booting worker with pid: (\d+)", line):
                worker = int(found[1])
        load(port, WARM_UP)
        before = processor_time(worker)
        calls = load(port, seconds)
        return calls / seconds, (processor_time(worker) - before) / calls * 1e6
    finally:
        process.terminate()
        process.communicate()


def main(rounds: int = 3, seconds: float = 3.0) -> None:
    rates: dict[str, list[float]] = {"macaque_wsgi": [], "flask_wsgi": []}
    costs: dict[str, list[float]] = {"macaque_wsgi": [], "flask_wsgi": []}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "upper.py").write_text(PROGRAM, encoding="utf-8")
        for number in range(rounds):
            for name in list(rates)[:: 1 if number % 2 else -1]:
                rate, cost = measure(name, folder, seconds)
                rates[name].append(rate)
                costs[name].append(cost)
                print(f"{name:13} {rate:6.0f} calls/s  {cost:5.0f} us of processor time for a call", flush=True)
    print(f"calls/s, macaque / Flask: {median(rates['macaque_wsgi']) / median(rates['flask_wsgi']):.2f}")
    print(f"processor time, macaque / Flask: {median(costs['macaque_wsgi']) / median(costs['flask_wsgi']):.2f}")


if __name__ == "__main__":
    main(*(kind(text) for kind, text in zip((int, float), sys.argv[1:], strict=False)))
