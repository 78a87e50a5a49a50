#!/usr/bin/env bash
# pylxd 2.4.2: a client with a project replaces the `project` that a request states itself.
#
# `client.api.warnings.get(params={"project": ""})` looks as if it asked for the warnings of the whole server. The client's
# own project overwrites the parameter in each request, in the caller's dictionary too. So what belongs to no project can't
# be asked for by such a client: Incus 6.0.4 lists its own warnings (no memory controller, say) only to a request without a
# project, and this one gets an empty list. It takes another client, with `project=""` or none.
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
        body = json.dumps({"type": "sync", "status_code": 200, "metadata": {"auth": "trusted", "api_extensions": ["projects"]}}).encode()
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
endpoint = f"http+unix://{quote(str(Path('socket').resolve()), safe='')}"
for project in ("ci", "", None):
    client = pylxd.Client(endpoint=endpoint, project=project)
    params = {"project": "other", "recursion": "1"}
    client.api.warnings.get(params=params)
    print(repr(project), Answer.asked[-1], params["project"])
PY
cat >expected <<'TEXT'
'ci' /1.0/warnings?project=ci&recursion=1 ci
'' /1.0/warnings?project=&recursion=1 
None /1.0/warnings?project=other&recursion=1 other
TEXT
venv/bin/python -W ignore ask.py | tee seen
diff expected seen
