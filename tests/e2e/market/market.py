"""The market: four instrumented processes in three languages on a real PostgreSQL, on free ports of 127.0.0.1.

    customers --HTTP--> web (Node) --HTTP--> orders (Python) --SQL--> PostgreSQL
                         |                     \\--gRPC--> stock (Go) --SQL--> PostgreSQL
                         \\--gRPC--> prices (Node) --gRPC-----^

Each sends OTLP its own way: Node as JSON over HTTP, Python as protobuf over HTTP, Go over gRPC.
It does NOT start a Collector or laghound.
"""

import glob
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

HERE = Path(__file__).resolve().parent

from procs import Failure, Process
from services import START_SECONDS, STOP_SECONDS, Services

NAMES = 50


def free_ports(count):
    """Ports that nobody has at this moment, for programs that do not say which they took."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Postgres:
    """Debian's PostgreSQL with a database of its own; not as root, which it refuses."""

    def __init__(self, folder):
        # Not under `folder`, which whoever it runs as may not be allowed to reach.
        self.home = tempfile.TemporaryDirectory(prefix="laghound-postgres-")
        binaries = Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1])
        as_somebody = []
        if os.getuid() == 0:
            as_somebody = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
            shutil.chown(self.home.name, "postgres", "postgres")
        data = Path(self.home.name) / "data"
        init = [*as_somebody, binaries / "initdb", "-D", data, "-U", "market", "-A", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(init, check=True, capture_output=True, cwd=self.home.name)
        (port,) = free_ports(1)
        argv = [*as_somebody, binaries / "postgres", "-D", data, "-p", port, "-k", self.home.name, "-h", "127.0.0.1"]
        # How good the disk is shall not matter.
        argv += ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "shared_buffers=16MB"]
        self.process = Process("postgres", argv, folder)
        self.env = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "market", "PGDATABASE": "postgres"}
        self.fill()

    def fill(self):
        """The tables, once it answers."""
        deadline = time.monotonic() + START_SECONDS
        where = {"host": "127.0.0.1", "port": self.env["PGPORT"], "user": "market", "dbname": "postgres"}
        while True:
            try:
                connection = psycopg.connect(**where, autocommit=True)
                break
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline or self.process.child.poll() is not None:
                    raise Failure(f"postgres: {error}\n{self.process.tail()}") from error
                time.sleep(0.2)
        with connection:
            connection.execute("CREATE TABLE items (owner text, sku text, quantity int)")
            connection.execute("CREATE TABLE orders (owner text)")
            connection.execute("CREATE TABLE stock (sku text PRIMARY KEY, level int)")
            connection.execute("INSERT INTO stock SELECT 'p' || n, 1000000 FROM generate_series(0, %s) n" % NAMES)
            connection.execute(
                "INSERT INTO items SELECT 'u' || n, 'p' || m, 1 FROM generate_series(0, %s) n, generate_series(0, 2) m" % NAMES
            )


class Market(Services):
    """The four services; `open_doors` brings the customers."""

    def __init__(self, folder, endpoints):
        """`endpoints`: where to send by `grpc` and by `http`."""
        super().__init__(folder)
        self.endpoints = endpoints
        self.postgres = None
        self.control = None

    def _start(self, name, protocol, *argv):
        env = {
            **self.postgres.env,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoints["grpc" if protocol == "grpc" else "http"],
            "NODE_PATH": os.environ["MARKET_NODE_MODULES"],
        }
        return self.run(name, argv, env)

    def start(self):
        """Callees before callers, as a caller is told its callees' ports."""
        self.postgres = Postgres(self.folder)
        stock = self._start("stock", "grpc", os.environ["MARKET_STOCK"])
        self.control = f"http://127.0.0.1:{stock['control']}"
        where = f"127.0.0.1:{stock['port']}"
        prices = self._start("prices", "http/json", "node", HERE / "prices.cjs", where)
        orders = self._start("orders", "http/protobuf", sys.executable, HERE / "orders.py", where)
        orders, prices = f"http://127.0.0.1:{orders['port']}", f"127.0.0.1:{prices['port']}"
        web = self._start("web", "http/json", "node", HERE / "web.cjs", orders, prices)
        self.address = f"http://127.0.0.1:{web['port']}"

    def open_doors(self, rate, seconds, seed=1):
        """So many customers, from now on."""
        super().open_doors(rate, seconds, seed, "--count", rate * seconds)

    def slow(self, milliseconds):
        """Makes `stock` slower by so much; 0 takes it back."""
        self.turn(self.control, "work", milliseconds)

    def stop(self):
        """The services, and then what they ask."""
        spans = super().stop()
        self.postgres.process.stop(STOP_SECONDS)
        return spans
