"""The bench's viewers ask a server as the page does, more than one at a time, and leave it when they are told to."""

from __future__ import annotations

import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from vla_ros.bench.viewers import viewers


def test_they_ask_for_state_and_pictures_until_they_leave():
    asked: Counter[str] = Counter()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            asked[self.path] += 1
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with viewers(4, "127.0.0.1", server.server_port, ("front", "wrist")) as answers:
        deadline = time.monotonic() + 20
        while answers[0] < 30:
            assert time.monotonic() < deadline, f"only {answers[0]} answers"
            time.sleep(0.05)
    settled = sum(asked.values())
    time.sleep(0.5)
    assert sum(asked.values()) == settled, "somebody still asks"
    assert set(asked) == {"/state", "/frame/front", "/frame/wrist"}
    assert asked["/frame/wrist"] >= 3 and asked["/state"] >= 3
    server.shutdown()
