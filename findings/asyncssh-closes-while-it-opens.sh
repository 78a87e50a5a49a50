#!/usr/bin/env bash
# asyncssh 2.24.0: opening a channel on a connection that is closed meanwhile may end in an AssertionError or AttributeError.
#
# The answer to an opening wakes the task that waits for it. If the connection is cleaned up before that task runs, it finds
# None for the connection (AssertionError) or for the session (AttributeError), where a ChannelOpenError is meant.
# With AES-GCM packets are read even after the connection was told to close; so it takes one that is closed just before.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check asyncssh==2.24.0

cat >ask.py <<'PY'
import asyncio

import asyncssh


class Open(asyncssh.SSHServer):
    def begin_auth(self, username):
        return False


async def serve(process):
    await asyncio.sleep(60)


async def main():
    keys = [asyncssh.generate_private_key("ssh-ed25519")]
    server = await asyncssh.listen("127.0.0.1", 0, server_factory=Open, server_host_keys=keys, process_factory=serve)
    options = {"known_hosts": None, "config": None, "client_keys": None, "agent_path": None}
    for last in (1, 2):
        conn = await asyncssh.connect(
            "127.0.0.1", server.get_port(), encryption_algs=["aes128-gcm@openssh.com"], **options
        )
        receive, pieces = conn.data_received, []

        def receive_last(data, datatype=None):
            pieces.append(data)
            if len(pieces) == last:
                conn.abort()
            receive(data, datatype)

        conn.data_received = receive_last
        try:
            await conn.create_process("x")
        except Exception as error:
            print(type(error).__name__)


asyncio.run(main())
PY
cat >expected <<'TEXT'
AssertionError
AttributeError
TEXT
venv/bin/python ask.py 2>/dev/null | tee seen
diff expected seen
