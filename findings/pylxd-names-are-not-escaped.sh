#!/usr/bin/env bash
# pylxd 2.4.2: `client.api` puts a name into the address as it is; `#` and `?` in it ask for something else.
#
# `client.api.images.aliases[NAME]` looks as if NAME were one segment of the path. It is appended unescaped and the whole is
# parsed as a URL afterwards: `ci#2` asks for the alias `ci`, what follows `?` becomes parameters (and what is appended
# later lands behind them: `operations["ID?project=x"].wait` asks for ID alone, so nobody waits), `a%2Fb` is taken as escaped
# already, while a blank and an umlaut are escaped by the HTTP library. Names must be quoted by the caller
# (urllib.parse.quote with safe="").
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pylxd==2.4.2 requests==2.32.5

cat >ask.py <<'PY'
import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import quote

import pylxd


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: list[str] = []

    def do_GET(self):
        self.asked.append(self.path)
        body = json.dumps({"type": "sync", "status_code": 200, "metadata": {"auth": "trusted"}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


threading.Thread(target=Server("socket", Answer).serve_forever, daemon=True).start()
client = pylxd.Client(endpoint=f"http+unix://{quote(str(Path('socket').resolve()), safe='')}")
for name in ("ci", "ci#2", "ci?2", "ci%2F2", "ci 2", "cü", quote("ci#2", safe="")):
    client.api.images.aliases[name].get()
    print(name, Answer.asked[-1])
client.api.operations["7c0b?project=x"].wait.get()
print("wait", Answer.asked[-1])
PY
cat >expected <<'TEXT'
ci /1.0/images/aliases/ci
ci#2 /1.0/images/aliases/ci
ci?2 /1.0/images/aliases/ci?2
ci%2F2 /1.0/images/aliases/ci%2F2
ci 2 /1.0/images/aliases/ci%202
cü /1.0/images/aliases/c%C3%BC
ci%232 /1.0/images/aliases/ci%232
wait /1.0/operations/7c0b?project=x/wait
TEXT
venv/bin/python -W ignore ask.py | tee seen
diff expected seen
