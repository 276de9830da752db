"""`orders`: HTTP in, by Flask; SQL to PostgreSQL, by psycopg; gRPC to `stock`.

    orders.py STOCK_ADDRESS

The database is the one of PGHOST, PGPORT and so on. Starts and ends as the shop's services do (../shop/service.py).
"""

import json
import logging
import queue
import random
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "shop"))

import flask
import grpc
import psycopg
from google.protobuf.wrappers_pb2 import StringValue
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.grpc import GrpcInstrumentorClient
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from werkzeug.serving import make_server

import telemetry

CONNECTIONS = 8
SECONDS = 10


def work():
    """Own work: a skewed wait of about 5 ms."""
    time.sleep(0.005 * random.lognormvariate(0, 0.25))


class Database:
    """A few connections, one for each statement under way."""

    def __init__(self):
        self.idle = queue.LifoQueue()
        for _ in range(CONNECTIONS):
            self.idle.put(psycopg.connect(autocommit=True))

    def execute(self, sql, *values):
        """The rows of one statement."""
        connection = self.idle.get(timeout=SECONDS)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, values)
                return cursor.fetchall()
        finally:
            self.idle.put(connection)


def application(stock_address):
    """The Flask application, instrumented."""
    app = flask.Flask("orders")
    FlaskInstrumentor().instrument_app(app)
    database = Database()
    channel = grpc.insecure_channel(stock_address)
    reserve = channel.unary_unary("/market.Stock/Reserve", StringValue.SerializeToString, StringValue.FromString)

    @app.get("/items/<user>")
    def items(user):
        work()
        return database.execute("SELECT sku, quantity FROM items WHERE owner = %s", user)

    @app.post("/orders/<user>")
    def orders(user):
        work()
        level = reserve(StringValue(value=f"p{user[1:]}"), timeout=SECONDS).value
        database.execute("INSERT INTO orders (owner) VALUES (%s) RETURNING owner", user)
        return {"left": level}

    return app


def main():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    provider, counter = telemetry.start("orders")
    GrpcInstrumentorClient().instrument()
    PsycopgInstrumentor().instrument()
    server = make_server("127.0.0.1", 0, application(sys.argv[1]), threaded=True)
    # `shutdown` waits for `serve_forever`, which this very thread runs: hence a thread.
    stop = threading.Thread(target=server.shutdown)
    signal.signal(signal.SIGTERM, lambda *_: stop.start())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print(json.dumps({"event": "ready", "service": "orders", "port": server.server_port}), flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    provider.shutdown()
    print(json.dumps({"event": "done", "service": "orders", "spans": counter.spans}), flush=True)


if __name__ == "__main__":
    main()
