"""`python -m frontend`: the web page of the fishalive demo, on http://127.0.0.1:8000/ (`HOST`, `PORT`).

The messaging server is `MACAQUE_BROKER`, the bound Cloud Foundry service, or `amqp://127.0.0.1:5672`. The page is
served whether or not that server is there. SIGTERM and SIGINT stop it.
"""

from gevent import monkey

monkey.patch_all()

from frontend.process import main  # noqa: E402  (nothing may be imported before gevent has patched the library)

if __name__ == "__main__":
    raise SystemExit(main())
