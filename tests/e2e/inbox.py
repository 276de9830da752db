"""Whoever is notified: a receiver of webhooks on a free port of 127.0.0.1. It does NOT judge what it gets."""

import http.server
import json
import threading


class Inbox(http.server.ThreadingHTTPServer):
    """A receiver of webhooks that keeps what it gets, with the path it came by."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Receive)
        self.base = f"http://127.0.0.1:{self.server_port}"
        self.mail = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def to(self, path):
        """What came by this path."""
        return [body for by, body in list(self.mail) if by == path]


class Receive(http.server.BaseHTTPRequestHandler):
    """One delivery."""

    def do_POST(self):  # pylint: disable=invalid-name
        """Keeps it."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.mail.append((self.path.strip("/"), body))
        self.send_response(200)
        self.end_headers()
        # Slack's answer.
        self.wfile.write(b"ok")

    def log_message(self, *_):  # pylint: disable=arguments-differ
        """Nothing on the terminal."""
