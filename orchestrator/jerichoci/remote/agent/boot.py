"""The first program on a host: has the agent there, and hands over to it.

It has one argument, packed: JSON with the work directory or null, the agent's digest and what the
agent is told. What it answers begins with MARK, since a login shell may
print what it likes before; then comes one line of JSON: `need` asks for the agent as a tar archive
of the length that its argument says, `fault` says why nothing can be done.

It has to be understood, if only to be refused, by a python3 that is too old for the agent.
"""

import base64
import hashlib
import io
import json
import os
import sys
import zlib

MARK = b"pikaci-agent "
STATE = "~/.local/state"


def say(**values: object) -> None:
    """Answer with a line of JSON."""
    sys.stdout.buffer.write(MARK + json.dumps(values).encode() + b"\n")
    sys.stdout.buffer.flush()


def work_directory(wanted: str) -> str:
    """The directory that is wanted, or where one belongs."""
    home = os.environ.get("XDG_STATE_HOME") or STATE
    return os.path.expanduser(wanted or os.path.join(home, "pikaci-host"))


def receive(home: str, told: dict) -> None:  # type: ignore[type-arg]  # old ones have no dict[...]
    """Unpack the agent at `home`, which is there whole or not at all."""
    import tarfile

    say(need=True)
    data = sys.stdin.buffer.read(told["bytes"])
    if hashlib.sha256(data).hexdigest() != told["digest"]:
        raise OSError(5, "the agent arrived damaged", home)
    unborn = home + ".tmp-" + os.urandom(4).hex()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            path = os.path.join(unborn, member.name)
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            content = archive.extractfile(member)
            if content is not None:
                with open(path, "wb") as file:
                    file.write(content.read())
    try:
        os.rename(unborn, home)
    except OSError:
        if not os.path.isdir(home):
            raise


def main() -> None:
    """Say what is wrong, or become the relay to an agent."""
    if sys.version_info < (3, 11):  # noqa: UP036 - an older one is refused with a reason
        say(fault={"what": "python", "version": sys.version.split()[0]})
        return
    told = json.loads(zlib.decompress(base64.b64decode(sys.argv[1])))
    work = work_directory(told["work_dir"])
    try:
        os.makedirs(work, 0o700, exist_ok=True)
        owner = os.stat(work).st_uid
        if owner != os.getuid():
            say(fault={"what": "owner", "path": work, "uid": owner, "me": os.getuid()})
            return
        home = os.path.join(work, "agent", told["digest"])
        # A disk that is full by now is no reason to leave an agent alone.
        if not told["resume"]:
            probe = os.path.join(work, ".probe-" + os.urandom(4).hex())
            try:
                with open(probe, "wb") as file:
                    file.write(bytes(4096))
            finally:
                if os.path.exists(probe):
                    os.unlink(probe)
        os.makedirs(os.path.dirname(home), 0o700, exist_ok=True)
        if not os.path.isdir(home):
            receive(home, told)
        os.utime(home)
    except OSError as error:
        say(fault={"what": "os", "errno": error.errno, "message": error.strerror, "path": work})
        return
    sys.path.insert(0, home)
    from jerichoci.remote.agent.relay import attach

    attach(work, told, say)


if __name__ == "__main__":
    main()
