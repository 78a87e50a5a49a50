"""A user's repository with a catalog, and the `pikaci` command line run in it as a user does."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, TypeVar
from unittest.mock import patch

from e2e.terminal import TerminalSession
from jerichoci.machine.system import own_system
from jerichoci.record.order import run_ids as in_order
from jerichoci.state.layout import RunLayout, StateLayout
from jerichoci.state.reading import read_run
from pikaci.__main__ import run
from usertree import IDENTITY, UserTree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


REPOSITORY = Path(__file__).resolve().parents[2]
RUN_ID = "20260131T235959Z-0123abcd"
DEADLINE_SECS = 90.0
"""For one command, on a machine that runs many at once."""

NOT_OURS = ("PIKACI_", "COMP_", "GITHUB_", "GITEA_", "FORGEJO_", "GITLAB_", "TEAMCITY_")
"""Variables that change what pikaci prints; the tests may run in CI themselves."""

T = TypeVar("T")
Json = dict[str, Any]

FLAKE = """
{
  outputs = _: {
    pikaci = (import ./pikaci-lib).mkCatalog {
      systems = [ "@system@" ];
      lanes = if builtins.pathExists ./ci/forge-lanes.toml then ./ci/forge-lanes.toml else null;
      targets = import ./targets.nix;
    };
  };
}
"""

# `build` makes a derivation that no other test has made: it is really built.
TARGETS = """
system:
let
  build = name: script: derivation {
    inherit name system;
    builder = "/bin/sh";
    args = [ "-c" script ];
    token = "@token@";
    PATH = "@path@";
  };
in
{
@targets@
}
"""

HELLO = """
  hello = {
    description = "Greets";
    prepare.greeting.drv = build "greeting" "echo building; echo hello > $out";
    jobs.greet = {
      needs = [ "greeting" ];
      command = ''
        cat "$PIKACI_INPUT_GREETING"
        cp "$PIKACI_INPUT_GREETING" "$PIKACI_ARTIFACTS/greeting.txt"
      '';
    };
  };
"""


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Json]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.out)

    def passed(self) -> Done:
        assert self.code == 0, self
        return self

    def refused(self, code: int = 2) -> str:
        """The one sentence on stderr that a refusal is."""
        assert self.code == code, self
        (sentence,) = self.err.splitlines()
        assert sentence.startswith("pikaci: "), self
        assert not self.is_our_fault, self
        return sentence

    @property
    def is_our_fault(self) -> bool:
        return any(word in self.err for word in ("Traceback", "itself failed", "internal error"))


@dataclass(frozen=True)
class Project:
    """A repository, a state root of its own, and an environment without the developer's."""

    tree: UserTree
    state: Path
    token: str
    system: str
    cwd: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def below(cls, directory: Path) -> Project:
        """A directory outside git, with a state root and a home of its own beside it."""
        for name in ("repo", "home"):
            (directory / name).mkdir()
        return cls(
            tree=UserTree(directory / "repo"),
            state=directory / "state",
            token=secrets.token_hex(8),
            system=own_system(),
            environment=IDENTITY | {"HOME": str(directory / "home"), "LC_ALL": "C.UTF-8"},
        )

    @classmethod
    def committed(cls, directory: Path, targets: str = HELLO) -> Project:
        """A repository with these targets and one commit."""
        project = cls.below(directory)
        project.define(targets)
        project.tree.init()
        project.tree.commit()
        return project

    @property
    def root(self) -> Path:
        return self.tree.root

    @property
    def marker(self) -> str:
        """A word of this project's processes alone: `@marker@` in targets."""
        return f"marker-{self.token}"

    def at(self, cwd: Path) -> Project:
        return replace(self, cwd=cwd)

    def with_env(self, **environment: str) -> Project:
        return replace(self, environment={**self.environment, **environment})

    def shimmed(self, name: str, script: str, of: str = "") -> Project:
        """With a script ahead of a program, where that is called with the argument `of`."""
        if of:
            script = f'case " $* " in *" {of} "*) {script};; esac\nexec "$real" "$@"'
        return self.with_env(PATH=shim(self.state.with_name("shims"), name, script))

    def path(self, name: str | bytes) -> Path:
        return self.tree.path(name)

    def write(self, name: str | bytes, content: str | bytes = "", mode: int = 0o644) -> Path:
        return self.tree.write(name, content, mode)

    def define(self, targets: str, where: str = "") -> None:
        """Write the flake and its targets, in Nix."""
        lib = self.root / where / "pikaci-lib"
        if not lib.exists():
            shutil.copytree(REPOSITORY / "nix/lib", lib)
        self.write(f"{where}/flake.nix".lstrip("/"), FLAKE.replace("@system@", self.system))
        text = TARGETS.replace("@targets@", targets).replace("@path@", os.environ["PATH"])
        text = text.replace("@marker@", self.marker).replace("@token@", self.token)
        self.write(f"{where}/targets.nix".lstrip("/"), text)

    def lanes(self, text: str) -> None:
        self.write("ci/forge-lanes.toml", "version = 1\n" + text)

    def env(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(NOT_OURS)}
        python_path = {"PYTHONPATH": str(REPOSITORY / "orchestrator")}
        return {**kept, **python_path, "PIKACI_STATE_ROOT": str(self.state), **self.environment}

    def argv(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "pikaci", *args]

    def pikaci(self, *args: str, stdin: bytes = b"") -> Done:
        """A process of its own, as a user starts it: for what `here` can't show."""
        done = subprocess.run(
            self.argv(*args),
            cwd=self.cwd or self.root,
            env=self.env(),
            input=stdin,
            capture_output=True,
            check=False,
            timeout=DEADLINE_SECS,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This process is where a user of the project is, with the same environment."""
        with chdir(self.cwd or self.root), patch.dict(os.environ, self.env(), clear=True):
            yield

    def here(self, *args: str) -> Done:
        """As `pikaci`, in this process, which spares its start."""
        with self.inside():
            return in_process(*args)

    def run(self, *args: str) -> Json:
        """Run a target that passes or is skipped: its record."""
        record: Json = self.here("run", *args, "--output", "json").passed().json
        return record

    def start(self, *args: str, **streams: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401 - as Popen has them
        """Start a command; the caller ends it (`finish`)."""
        return subprocess.Popen(
            self.argv(*args),
            cwd=self.cwd or self.root,
            env=self.env(),
            stdin=subprocess.DEVNULL,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
        )

    def on_terminal(self, *args: str) -> TerminalSession:
        return TerminalSession(self.argv(*args), self.root, self.env())

    def complete(self, words: str) -> list[str]:
        """What a shell offers for the last of these words."""
        typed = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        done = self.with_env(_PIKACI_COMPLETE="bash_complete", **typed).here().passed()
        return [line.partition(",")[2] for line in done.out.splitlines() if line]

    def run_ids(self) -> list[str]:
        """Those of the runs, the oldest first."""
        return in_order(StateLayout(self.state))[::-1]

    def run_dir(self, run_id: str = "latest") -> Path:
        name: str = self.run_ids()[-1] if run_id == "latest" else run_id
        return self.state / "runs" / name

    def record(self, run_id: str = "latest") -> Json:
        """A run as it stands."""
        return read_run(RunLayout(self.run_dir(run_id)))

    def events(self, run_id: str = "latest") -> list[Json]:
        """The whole lines of events.jsonl."""
        path = self.run_dir(run_id) / "events.jsonl"
        data = path.read_bytes() if path.exists() else b""
        return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]

    def log(self, job: str, run_id: str = "latest") -> str:
        jobs = {job["id"]: job for job in self.record(run_id)["jobs"]}
        path: Path = self.run_dir(run_id) / jobs[job]["host_log_path"]
        return path.read_text()


def in_process(*args: str) -> Done:
    """Run a command line in this process, which spares its start; what it prints is UTF-8."""
    with ExitStack() as stack:
        out, err = (
            stack.enter_context(TemporaryFile("w+", encoding="utf-8", newline="")) for _ in range(2)
        )
        with redirect_stdout(out), redirect_stderr(err):
            code = run([*args])
        out.seek(0)
        err.seek(0)
        return Done(code, out.read(), err.read())


def set_by(where: str, settings: str, directory: Path) -> dict[str, str]:
    """Variables that have Nix's settings set by `NIX_CONFIG` or by a `nix.conf` of the user."""
    if where == "NIX_CONFIG":
        return {where: f"{os.environ.get(where, '')}\n{settings}"}
    (directory / "nix.conf").write_text(f"{settings}\n")
    files = [str(directory / "nix.conf"), *os.environ.get("NIX_USER_CONF_FILES", "").split(":")]
    return {"NIX_USER_CONF_FILES": ":".join(filter(None, files))}


@contextmanager
def nix_daemon(directory: Path, settings: str = "") -> Iterator[dict[str, str]]:
    """Variables that have Nix build by a daemon, which alone has these settings."""
    socket = directory / "nix-daemon"
    config = f"{os.environ.get('NIX_CONFIG', '')}\n{settings}"
    env = os.environ | {"NIX_DAEMON_SOCKET_PATH": str(socket), "NIX_CONFIG": config}
    daemon = subprocess.Popen(["nix-daemon"], env=env, stderr=subprocess.DEVNULL)
    try:
        wait_for(socket.exists)
        yield {"NIX_REMOTE": f"unix://{socket}"}
    finally:
        daemon.terminate()
        daemon.wait()


def finish(process: subprocess.Popen[bytes], deadline_secs: float = DEADLINE_SECS) -> Done:
    """Wait for a command that was started."""
    try:
        out, err = process.communicate(timeout=deadline_secs)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Done(process.returncode, (out or b"").decode(), (err or b"").decode())


def wait_for(look: Callable[[], T], deadline_secs: float = DEADLINE_SECS) -> T:
    """Look until there is something to see."""
    end = time.monotonic() + deadline_secs
    while not (found := look()):
        assert time.monotonic() < end, f"not within {deadline_secs} s"
        time.sleep(0.02)
    return found


def processes(marker: str) -> list[str]:
    """Command lines of living processes that have `marker` in them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                )
            except OSError:
                continue
            if marker in line:
                found.append(f"{entry.name} {line}")
    return found


def shim(directory: Path, name: str, script: str) -> str:
    """A program `name` ahead of the real one, which `$real` stands for in `script`; the PATH."""
    real = shutil.which(name)
    assert real, f"{name} is not on PATH"
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\nreal={real}\n{script}\n")
    (directory / name).chmod(0o755)
    return f"{directory}{os.pathsep}{os.environ['PATH']}"
