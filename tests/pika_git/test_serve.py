from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from event_stream import EventStream
from forge_scenes import Scene, lane
from served import Caller

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pika_git.data import DataDir

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
SECS = 60


def pika_git(data: DataDir, *args: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pika_git", *args, "--data", str(data.root)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=SECS)


@contextmanager
def serve(data: DataDir) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service, and where it listens."""
    argv = [sys.executable, "-m", "pika_git", "serve", "--data", str(data.root)]
    argv += ["--listen", "127.0.0.1:0"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=SECS)


def test_a_service_answers_and_ends_when_it_is_asked_to(scene: Scene) -> None:
    scene.run(scene.branch(scene.repo(), "main"), [lane("a")])
    scene.record(scene.claim(scene.worker()), "running", b"one\n", begun=scene.now, secs=1)
    token = pika_git(scene.data, "token", "ann", "--role", "admin").stdout.strip()
    with serve(scene.data) as (process, url):
        caller = Caller(url, {"Authorization": f"Bearer {token}"})
        assert caller.get("/healthz").json() == {"status": "ok", "problems": []}
        assert caller.get("/api/v1/whoami").json() == {"name": "ann", "role": "admin"}
        with EventStream(caller, "/api/v1/lanes/1/log/stream") as stream:
            assert stream.next().bytes == b"one\n"
            again = pika_git(scene.data, "serve", "--listen", "127.0.0.1:0")
            assert again.returncode == 1
            assert again.stderr.strip() == (
                f"Error: a service runs already for {scene.data.root}, process {process.pid}"
            )
            process.send_signal(signal.SIGTERM)
            assert list(stream) == []
        assert process.wait(SECS) == 0
        assert process.stderr is not None
        said = process.stderr.read().splitlines()
        assert all(line.startswith("repository demo: could not run git") for line in said)
        caller.close()


@pytest.mark.parametrize(
    ("text", "args", "says"),
    [
        ("listen = 80", (), "settings.toml: `listen` is a text, not 80"),
        ("", ("--listen", "nowhere"), "`listen` is HOST:PORT"),
        ("", ("--listen", "192.0.2.1:1"), "can't listen on 192.0.2.1:1: "),
    ],
)
def test_a_service_that_can_not_begin_says_why(
    scene: Scene, text: str, args: tuple[str, ...], says: str
) -> None:
    scene.data.settings.write_text(text)
    done = pika_git(scene.data, "serve", *args)
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_token_is_printed_once(scene: Scene) -> None:
    done = pika_git(scene.data, "token", "ann", "--role", "write")
    assert (done.returncode, done.stdout[:3], len(done.stdout)) == (0, "ph_", 47)
    assert scene.execute("SELECT who || ' ' || action || ' ' || subject FROM audit") == (
        "pika-git token add token ann"
    )


CONFIG = """
daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {dir}/a; proxy_temp_path {dir}/b; fastcgi_temp_path {dir}/c;
  uwsgi_temp_path {dir}/d; scgi_temp_path {dir}/e;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass {url}; proxy_set_header Host $http_host; }}
  }}
}}
"""


def test_lines_pass_through_nginx_as_they_are_written(scene: Scene, tmp_path: Path) -> None:
    scene.run(scene.branch(scene.repo(), "main"), [lane("a")])
    claim = scene.claim(scene.worker())
    root = scene.record(claim, "running", b"one\n", begun=scene.now, secs=1)
    log = root / "jobs" / "test" / "attempts" / "1" / "host.log"
    token = pika_git(scene.data, "token", "ann", "--role", "admin").stdout.strip()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with serve(scene.data) as (_, url):
        (tmp_path / "nginx.conf").write_text(CONFIG.format(dir=tmp_path, port=port, url=url))
        nginx = subprocess.Popen(
            [str(NGINX), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")],
            stderr=subprocess.DEVNULL,
        )
        try:
            caller = Caller(f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {token}"})
            wait_for_port(port)
            with EventStream(caller, "/api/v1/lanes/1/log/stream") as stream:
                assert stream.next().bytes == b"one\n"
                for number in range(5):
                    with log.open("ab") as file:
                        file.write(b"%d\n" % number)
                    assert stream.next().bytes == b"%d\n" % number  # nginx would keep it for ever
            too_large = caller.send("POST", "/api/v1/hooks/push/demo", content=b"x" * 2 * 1024**2)
            assert too_large.status_code == 413
            form = {"token": token, "next": "/queue"}
            login = caller.send("POST", "/login", data=form, headers={"Origin": caller.url})
            assert (login.status_code, login.headers["location"]) == (303, "/queue")
            caller.close()
        finally:
            nginx.terminate()
            nginx.wait(SECS)


def wait_for_port(port: int) -> None:
    until = time.monotonic() + SECS
    while time.monotonic() < until:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("nginx did not begin")
