"""Web servers of a network namespace at the far end of a cable, each of which says its address."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SERVERS = """
import http.server, socket, sys, threading
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        host = self.connection.getsockname()[0].removeprefix("::ffff:")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"at {host}\\n".encode())
    def log_message(self, *_): pass
for port in map(int, sys.argv[1:]):
    threading.Thread(target=Server(("::", port), Handler).serve_forever).start()
print("ready", flush=True)
sys.stdin.read()
import os; os._exit(0)
"""


def ip(*words: str) -> None:
    """Do something with `ip`."""
    subprocess.run(["ip", *words], check=True, timeout=30)


@contextmanager
def far_servers(
    name: str, here: Sequence[str], there: Sequence[str], ports: Sequence[int]
) -> Iterator[None]:
    """Addresses with their prefix length; the first of `here` is the far end's way back."""
    argv = ["unshare", "--net", sys.executable, "-c", SERVERS, *map(str, ports)]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe) as far:
        assert far.stdin is not None
        assert far.stdout is not None
        far.stdout.readline()
        ip("link", "add", name, "type", "veth", "peer", "name", "far0", "netns", str(far.pid))
        try:
            inside = ["nsenter", f"--net=/proc/{far.pid}/ns/net", "ip"]
            for address in here:
                ip("address", "add", address, "dev", name, *(["nodad"] if ":" in address else []))
            ip("link", "set", name, "up")
            lines = [f"address add {it} dev far0{' nodad' if ':' in it else ''}" for it in there]
            lines += ["link set lo up", "link set far0 up"]
            lines += [f"route add default via {it.partition('/')[0]}" for it in here]
            for line in lines:
                subprocess.run([*inside, *line.split()], check=True, timeout=30)
            yield
        finally:
            far.stdin.close()
            far.wait(30)
