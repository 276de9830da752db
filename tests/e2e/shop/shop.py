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
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from procs import kill_all
from services import Services

# Callees before callers, as a caller is told its callees' ports.
CALLS = {
    "catalog": [],
    "shipping": [],
    "cart": [],
    "pricing": ["catalog"],
    "storefront": ["cart", "pricing", "shipping"],
}


class Shop(Services):
    """The five services; `open_doors` brings the customers."""

    def __init__(self, folder, protocol, endpoint):
        super().__init__(folder)
        self.env = {
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "SHOP_DATABASE": str(self.folder / "cart.sqlite"),
        }
        self.urls = {}

    def start(self):
        """All services, each ready before its callers start."""
        for name, peers in CALLS.items():
            peers = [f"--peer={peer}={self.urls[peer]}" for peer in peers]
            ready = self.run(name, [sys.executable, HERE / "service.py", name, *peers], self.env)
            self.urls[name] = f"http://127.0.0.1:{ready['port']}"
        self.address = self.urls["storefront"]

    def slow(self, service, kind, milliseconds):
        """Makes a service's `work` or `sql` slower by so much; 0 takes it back."""
        self.turn(self.urls[service], kind, milliseconds)


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
