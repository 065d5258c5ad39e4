"""A shop: typed orders, a blueprint, a check before each request, and exceptions that become errors of the caller.

python examples/shop.py
macaque call shop/orders/place '{"customer": "ann", "lines": [{"item": "tea", "count": 2}]}'
macaque call shop/orders/place '{"customer": "ann", "lines": [{"item": "tea", "count": "two"}]}'
"""

from dataclasses import dataclass

import macaque

PRICES = {"tea": 300, "milk": 120}


@dataclass
class Line:
    item: str
    count: int = 1


@dataclass
class Order:
    customer: str
    lines: list[Line]


@dataclass
class Receipt:
    number: str
    cents: int


orders = macaque.Blueprint("orders")


@orders.service("place", share_id="shop")
def place(order: Order, request: macaque.Request) -> Receipt:
    return Receipt(request.uuid[-4:], sum(PRICES[line.item] * line.count for line in order.lines))


@orders.errorhandler(KeyError)
def unknown_item(error: KeyError) -> None:
    macaque.abort(404, f"the shop has no {error}", details={"known": sorted(PRICES)})


app = macaque.Server()
app.register_blueprint(orders, topic_prefix="shop/orders")


@app.before_request
def open_hours() -> None:
    if (macaque.request.remaining() or 60) < 0.1:
        macaque.abort(503, "too little time for an order", retryable=True)


if __name__ == "__main__":
    app.run()
