"""Three laghounds under one name, each with an address of its own and all with the same port, as behind a headless Service.

The name is in a file that a Collector has for its /etc/hosts (see parts.py). It does NOT decide which trace goes where.
"""

from market.market import free_ports
from peers import Laghound

ADDRESSES = ("127.0.0.11", "127.0.0.12", "127.0.0.13")


class Replicas:
    """All running, and listed under `name`."""

    name = "laghound-replicas"

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        (port,) = free_ports(1)
        self.port = str(port)
        self.hosts = folder / "hosts"
        self.hosts.write_text("", encoding="utf-8")
        self.starts = 0
        self.all = [self._start(address) for address in ADDRESSES]
        self.list(*range(len(ADDRESSES)))

    def _start(self, address, **env):
        env["LAGHOUND_RECEIVER_GRPC_ENDPOINT"] = f"{address}:{self.port}"
        self.starts += 1
        return Laghound(self.binary, self.folder, f"replica-{self.starts}", env)

    def start_again(self, which):
        """Another process at the addresses of one that is gone, so that Prometheus finds it, too."""
        admin = self.all[which].addresses["admin"]
        self.all[which] = self._start(ADDRESSES[which], LAGHOUND_ADMIN_ENDPOINT=admin)

    def list(self, *which):
        """The name has the addresses of these, from now on. Written in place, as the file is mounted."""
        lines = ["127.0.0.1 localhost", *(f"{ADDRESSES[one]} {self.name}" for one in which)]
        with open(self.hosts, "r+", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
            file.truncate()
