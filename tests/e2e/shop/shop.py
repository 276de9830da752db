"""The shop as a whole: five instrumented processes and their customers, on free ports of 127.0.0.1.

By hand, beside a running `laghound serve`:

    shop.py --protocol grpc --endpoint http://127.0.0.1:4317

prints the `curl` line that makes each service slow, and runs until Ctrl-C. The end-to-end test
uses the class. It does NOT start laghound.
"""

import argparse
import os
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from procs import Process, kill_all

# Callees before callers, as a caller is told its callees' ports.
CALLS = {
    "catalog": [],
    "shipping": [],
    "cart": [],
    "pricing": ["catalog"],
    "storefront": ["cart", "pricing", "shipping"],
}
START_SECONDS = 60
# The SDK's own limit for its last flush is 30 s.
STOP_SECONDS = 40


class Shop:
    """The five services; `open_doors` brings the customers."""

    def __init__(self, folder, protocol, endpoint):
        self.folder = Path(folder)
        self.env = {
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "SHOP_DATABASE": str(self.folder / "cart.sqlite"),
            "PYTHONUNBUFFERED": "1",
        }
        self.services = {}
        self.urls = {}
        self.load = None

    def start(self):
        """All services, each ready before its callers start."""
        for name, peers in CALLS.items():
            peers = [f"--peer={peer}={self.urls[peer]}" for peer in peers]
            argv = [sys.executable, HERE / "service.py", name, *peers]
            process = Process(name, argv, self.folder, self.env)
            self.services[name] = process
            port = process.wait_for(lambda e: e.get("port"), "port", START_SECONDS)
            self.urls[name] = f"http://127.0.0.1:{port}"

    def open_doors(self, rate, seconds, seed=1):
        """Customers come from now on."""
        target = self.urls["storefront"]
        argv = [sys.executable, HERE / "load.py", "--target", target]
        argv += ["--rate", rate, "--seconds", seconds, "--seed", seed]
        self.load = Process("load", argv, self.folder)

    def slow(self, service, kind, milliseconds):
        """Makes a service's `work` or `sql` slower by so much; 0 takes it back."""
        url = f"{self.urls[service]}/_slow?{kind}_ms={milliseconds}"
        request = urllib.request.Request(url, method="PUT")
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()

    def close_doors(self):
        """No more customers; what became of those that came, once all are answered."""
        self.load.stop(STOP_SECONDS)
        return next(e for e in reversed(self.load.events()) if e.get("event") == "done")

    def stop(self):
        """Stops the services, callers first; how many spans ended in each."""
        spans = {}
        for name, process in reversed(self.services.items()):
            process.stop(STOP_SECONDS)
            done = process.wait_for(lambda e: e.get("event") == "done" and e, "span count", 5)
            spans[name] = done["spans"]
        return spans


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--protocol", choices=["grpc", "http/protobuf"], default="grpc")
    parser.add_argument("--endpoint", default=os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
    parser.add_argument("--rate", type=float, default=8, help="requests a second")
    parser.add_argument("--seconds", type=float, default=3600)
    args = parser.parse_args()
    endpoint = args.endpoint or {"grpc": "http://127.0.0.1:4317"}.get(args.protocol, "http://127.0.0.1:4318")
    with tempfile.TemporaryDirectory(prefix="shop-") as folder:
        shop = Shop(folder, args.protocol, endpoint)
        try:
            shop.start()
            shop.open_doors(args.rate, args.seconds)
            for name, url in shop.urls.items():
                print(f"curl -X PUT '{url}/_slow?work_ms=150'   # makes {name} slow; 0 takes it back")
            print(f"curl -X PUT '{shop.urls['cart']}/_slow?sql_ms=150'   # makes cart's database slow")
            time.sleep(args.seconds)
        except KeyboardInterrupt:
            print(shop.close_doors(), shop.stop())
        finally:
            kill_all()


if __name__ == "__main__":
    main()
