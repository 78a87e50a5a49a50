#!/usr/bin/env bash
# asyncssh 2.24.0: a connection through `proxy_command` ends when that command closes its standard error.
#
# asyncssh reads the command's three descriptors and takes the end of any of them for the end of the connection, with what
# is under way on it. `ssh -W host:port jump` is such a command: once it is connected it puts its standard error away when
# that is not a terminal's. The connection is lost during the handshake, or later, in the middle of its use; OpenSSH, which
# leaves that descriptor to the command, goes on. A socket pair given as `sock=` whose other end is the command's input and
# output doesn't have this.
# The relay below does nothing but pass bytes on; it closes its standard error at once, after a second, or never.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check asyncssh==2.24.0

cat >relay.py <<'PY'
import os
import socket
import sys
import threading

port, after = int(sys.argv[1]), float(sys.argv[2])
far = socket.create_connection(("127.0.0.1", port))
if after == 0:
    os.close(2)
elif after > 0:
    timer = threading.Timer(after, os.close, [2])
    timer.daemon = True
    timer.start()


def send() -> None:
    while data := os.read(0, 65536):
        far.sendall(data)


threading.Thread(target=send, daemon=True).start()
while data := far.recv(65536):
    os.write(1, data)
PY
cat >ask.py <<'PY'
import asyncio
import sys

import asyncssh


class Open(asyncssh.SSHServer):
    def begin_auth(self, username):
        return False


async def answer(process):
    process.stdout.write("answer\n")
    process.exit(0)


async def ask(port, name, after):
    relay = [sys.executable, "relay.py", str(port), str(after)]
    options = {"known_hosts": None, "username": "me", "config": None, "client_keys": None, "agent_path": None}
    try:
        async with asyncssh.connect("lab", proxy_command=relay, **options) as connection:
            print(name, "first:", (await connection.run("x")).stdout.strip())
            await asyncio.sleep(3)
            print(name, "second:", (await connection.run("x")).stdout.strip())
    except (asyncssh.Error, OSError) as error:
        print(name, "ended:", type(error).__name__)


async def main():
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[key], server_factory=Open, process_factory=answer)
    port = server.get_port()
    await ask(port, "never", -1)
    await ask(port, "at once", 0)
    await ask(port, "after a second", 1)


asyncio.run(main())
PY
cat >expected <<'TEXT'
never first: answer
never second: answer
at once ended: ConnectionLost
after a second first: answer
after a second ended: ChannelOpenError
TEXT
venv/bin/python ask.py | tee seen
diff expected seen
