"""Services over HTTP: `Server.wsgi` and `Server.asgi`, and the parts that the gateway has in common with them."""
