"""One service of the shop, one operating system process: `service.py NAME --peer NAME=URL ...`.

storefront --> cart --> SQLite      every arrow is an HTTP call between two processes
    |  \\----> shipping
    \\--> pricing --> catalog

It prints `{"event":"ready","port":N}` once it listens and, after SIGTERM, `{"event":"done","spans":N}`
with the number of spans that ended in it. `PUT /_slow?work_ms=N` adds N ms to its own work,
`PUT /_slow?sql_ms=N` to its SQL, from the next request on; 0 takes it back. That path is not traced.
It does NOT check orders for sense: only where the time goes is real.
"""

import argparse
import json
import logging
import os
import random
import signal
import sqlite3
import threading
import time

# Read by the Flask instrumentation when it is imported.
os.environ.setdefault("OTEL_PYTHON_FLASK_EXCLUDED_URLS", "_slow")

import flask
import requests
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from werkzeug.serving import make_server

import telemetry

# Milliseconds of own work per request when nothing is wrong.
WORK_MS = {"storefront": 4, "cart": 6, "pricing": 8, "catalog": 10, "shipping": 7}
# No caller here waits longer for a peer.
PEER_TIMEOUT_S = 10


class Service:
    """What every service has: peers, own work, and the knob that makes it slow."""

    def __init__(self, name, peers):
        self.name = name
        self.peers = peers
        self.slow_ms = {"work": 0.0, "sql": 0.0}
        self._random = random.Random(name)

    def work(self):
        """The handler's own work: a skewed wait round the service's usual one, plus the slowdown."""
        usual_ms = WORK_MS[self.name] * self._random.lognormvariate(0, 0.25)
        time.sleep((usual_ms + self.slow_ms["work"]) / 1000)

    def call(self, method, peer, path):
        """Calls a peer; what it answers, decoded."""
        answer = requests.request(method, self.peers[peer] + path, timeout=PEER_TIMEOUT_S)
        answer.raise_for_status()
        return answer.json()


def storefront(app, shop):
    """The three operations that customers use."""

    @app.get("/cart/<user>")
    def cart(user):
        items = shop.call("GET", "cart", f"/items/{user}")
        shop.work()
        return {"items": items}

    @app.get("/product/<sku>")
    def product(sku):
        shop.work()
        return shop.call("GET", "pricing", f"/price/{sku}")

    @app.post("/checkout/<user>")
    def checkout(user):
        items = shop.call("GET", "cart", f"/items/{user}")
        price = shop.call("GET", "pricing", f"/price/{user}")
        shop.work()
        parcel = shop.call("POST", "shipping", f"/parcels/{user}")
        shop.call("POST", "cart", f"/orders/{user}")
        return {"items": items, "price": price, "parcel": parcel}


def cart(app, shop):
    """Items and orders, in a database of its own."""
    path = os.environ["SHOP_DATABASE"]
    with sqlite3.connect(path) as setup:
        setup.executescript(
            "PRAGMA journal_mode = WAL;"
            "CREATE TABLE items (owner TEXT, sku TEXT, quantity INTEGER);"
            "CREATE TABLE orders (owner TEXT);"
        )
        rows = [(f"u{u}", f"p{i}", 1) for u in range(50) for i in range(3)]
        setup.executemany("INSERT INTO items VALUES (?, ?, ?)", rows)

    def query(sql, *values):
        """One statement; a slow database is one whose statements wait, so the wait is inside."""
        connection = sqlite3.connect(path, timeout=PEER_TIMEOUT_S)
        try:
            connection.create_function("pause", 1, lambda ms: time.sleep(ms / 1000) or 0)
            cursor = connection.cursor()
            cursor.execute(sql, (shop.slow_ms["sql"], *values))
            rows = cursor.fetchall()
            connection.commit()
            return rows
        finally:
            connection.close()

    @app.get("/items/<user>")
    def items(user):
        shop.work()
        rows = query("SELECT sku, quantity, (SELECT pause(?)) FROM items WHERE owner = ?", user)
        return [{"sku": sku, "quantity": quantity} for sku, quantity, _ in rows]

    @app.post("/orders/<user>")
    def orders(user):
        shop.work()
        query("INSERT INTO orders SELECT substr(?2, 1, 20 + pause(?1))", user)
        return {"ordered": user}


def pricing(app, shop):
    """Prices, worked out from the catalog."""

    @app.get("/price/<sku>")
    def price(sku):
        item = shop.call("GET", "catalog", f"/item/{sku}")
        shop.work()
        return {"sku": item["sku"], "cents": item["cents"] * 119 // 100}


def catalog(app, shop):
    """What there is to sell."""

    @app.get("/item/<sku>")
    def item(sku):
        shop.work()
        return {"sku": sku, "cents": 1000 + len(sku)}


def shipping(app, shop):
    """Parcels."""

    @app.post("/parcels/<user>")
    def parcels(user):
        shop.work()
        return {"parcel": f"parcel of {user}"}


ROUTES = {f.__name__: f for f in (storefront, cart, pricing, catalog, shipping)}


def say(**event):
    """One line for whoever started this process."""
    print(json.dumps(event), flush=True)


def application(name, peers):
    """The Flask application of one service, instrumented."""
    app = flask.Flask(name)
    shop = Service(name, peers)
    FlaskInstrumentor().instrument_app(app)
    ROUTES[name](app, shop)

    @app.put("/_slow")
    def slow():
        for kind in shop.slow_ms:
            shop.slow_ms[kind] = flask.request.args.get(f"{kind}_ms", shop.slow_ms[kind], float)
        return shop.slow_ms

    return app


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(ROUTES))
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=URL")
    args = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    provider, counter = telemetry.start(args.name)
    app = application(args.name, dict(peer.split("=", 1) for peer in args.peer))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    # `shutdown` waits for `serve_forever`, which this very thread runs: hence a thread.
    stop = threading.Thread(target=server.shutdown)
    signal.signal(signal.SIGTERM, lambda *_: stop.start())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    say(event="ready", service=args.name, port=server.server_port)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    provider.shutdown()
    say(event="done", service=args.name, spans=counter.spans)


if __name__ == "__main__":
    main()
