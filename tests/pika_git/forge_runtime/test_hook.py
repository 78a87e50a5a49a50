from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.project import processes, wait_for
from forge_pushes import MAIN, make_bare
from pika_git.forge_runtime.hook import CHAINED, Pushes, install, script
from pika_git.git import GitError, Repository
from privilege import only_root_can
from usertree import UserTree

if TYPE_CHECKING:
    from collections.abc import Iterator

Said = list[tuple[str, dict[tuple[str, str], str | None]]]


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose sockets have names that the kernel takes."""
    with tempfile.TemporaryDirectory(prefix="hook-") as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return make_bare(tmp_path / "demo.git")


@pytest.fixture
def tree(tmp_path: Path) -> UserTree:
    tree = UserTree(tmp_path / "work").init()
    tree.commit()
    return tree


def hook(bare: Path) -> Path:
    return bare / "hooks/post-receive"


def run_hook(bare: Path) -> None:
    """Run the hook as git does, and return when all have closed its streams."""
    subprocess.run(
        ["hooks/post-receive"],
        cwd=bare,
        input=b"0 1 refs/heads/x\n",
        env=os.environ | {"GIT_DIR": "."},
        capture_output=True,
        check=True,
        timeout=60,
    )


def test_the_hook_says_who_pushed_what(bare: Path, tree: UserTree, short: Path) -> None:
    said: Said = []
    with Pushes(short / "hook.sock", lambda *told: said.append(told)):
        install(Repository(bare), short / "hook.sock")
        tree.git("push", "-q", str(bare), "HEAD:main", "HEAD:ü")
        wait_for(lambda: said)
        head = tree.git("rev-parse", "HEAD").decode().strip()
        user = "root" if os.geteuid() == 0 else os.environ.get("USER", "")
        assert said == [(str(bare), {(MAIN, head): user, ("refs/heads/ü", head): user})]
        tree.git("push", "-q", str(bare), ":ü", GL_USER="ann\x1b[31m")
        wait_for(lambda: len(said) == 2)
        assert said[1] == (str(bare), {("refs/heads/ü", ""): f"ann[31m (as {user})"})


def test_a_push_of_500_branches_is_said_whole(bare: Path, tree: UserTree, short: Path) -> None:
    said: Said = []
    with Pushes(short / "hook.sock", lambda *told: said.append(told)):
        install(Repository(bare), short / "hook.sock")
        names = [f"{number}-" + "x" * 200 for number in range(500)]
        tree.git("push", "-q", str(bare), *(f"HEAD:refs/heads/{name}" for name in names))
        wait_for(lambda: said)
    assert len(said[0][1]) == 500


def test_installing_twice_changes_nothing(bare: Path, short: Path) -> None:
    install(Repository(bare), short / "hook.sock")
    before = hook(bare).stat()
    install(Repository(bare), short / "hook.sock")
    assert hook(bare).stat() == before
    assert sorted(path.name for path in (bare / "hooks").glob("post*")) == ["post-receive"] + (
        ["post-update.sample"] if (bare / "hooks/post-update.sample").exists() else []
    )


def test_a_hook_of_an_earlier_forge_is_replaced(bare: Path, short: Path) -> None:
    install(Repository(bare), short / "hook.sock")
    install(Repository(bare), short / "other.sock")
    assert "other.sock" in hook(bare).read_text()
    assert not hook(bare).with_name(CHAINED).exists()


def test_a_hook_that_was_there_runs_as_before(
    bare: Path, tree: UserTree, short: Path, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    hook(bare).parent.mkdir(exist_ok=True)
    hook(bare).write_text(f'#!/bin/sh\necho "$GIT_DIR" >{seen}\ncat >>{seen}\necho said by it\n')
    hook(bare).chmod(0o755)
    install(Repository(bare), short / "hook.sock")
    install(Repository(bare), short / "hook.sock")
    argv = ["git", "push", str(bare), "HEAD:main"]
    done = subprocess.run(argv, cwd=tree.root, check=True, capture_output=True)
    head = tree.git("rev-parse", "HEAD").decode().strip()
    assert seen.read_text() == f".\n{'0' * 40} {head} {MAIN}\n"
    assert b"said by it" in done.stderr


def test_two_hooks_of_others_are_not_overwritten(bare: Path, short: Path) -> None:
    hook(bare).parent.mkdir(exist_ok=True)
    for path in (hook(bare), hook(bare).with_name(CHAINED)):
        path.write_text("#!/bin/sh\n")
    with pytest.raises(GitError, match="join them, or remove one"):
        install(Repository(bare), short / "hook.sock")
    assert hook(bare).read_text() == "#!/bin/sh\n"


def test_git_says_where_hooks_are(bare: Path, tree: UserTree, short: Path, tmp_path: Path) -> None:
    hooks = tmp_path / "shared hooks"
    Repository(bare).out("config", "core.hooksPath", str(hooks))
    other = make_bare(tmp_path / "other.git")
    Repository(other).out("config", "core.hooksPath", str(hooks))
    assert install(Repository(bare), short / "hook.sock") == hooks / "post-receive"
    said: Said = []
    with Pushes(short / "hook.sock", lambda *told: said.append(told)):
        tree.git("push", "-q", str(other), "HEAD:main")
        wait_for(lambda: said)
    assert said[0][0] == str(other)


def test_a_pusher_does_not_wait_for_a_service_that_is_away(bare: Path, short: Path) -> None:
    install(Repository(bare), short / "hook.sock")
    run_hook(bare)


def test_a_pusher_does_not_wait_though_the_service_hangs(
    bare: Path, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pika_git.forge_runtime.hook.CLIENT_SECS", 3600.0)
    install(Repository(bare), short / "hook.sock")
    with closing(socket.socket(socket.AF_UNIX)) as hanging, ExitStack() as clients:
        hanging.bind(str(short / "hook.sock"))
        hanging.listen(0)
        with suppress(BlockingIOError):
            while True:  # until no more are let in
                client = clients.enter_context(closing(socket.socket(socket.AF_UNIX)))
                client.settimeout(0)
                client.connect(str(short / "hook.sock"))
        run_hook(bare)
        wait_for(lambda: processes(str(short)))  # what tells the service waits for it
    wait_for(lambda: not processes(str(short)))


def test_a_client_that_says_nothing_keeps_no_hook_unheard(
    bare: Path, tree: UserTree, short: Path
) -> None:
    said: Said = []
    with (
        Pushes(short / "hook.sock", lambda *told: said.append(told)),
        closing(socket.socket(socket.AF_UNIX)) as silent,
        closing(socket.socket(socket.AF_UNIX)) as rubbish,
    ):
        for client in (silent, rubbish):
            client.connect(str(short / "hook.sock"))
        rubbish.sendall(b"\xff\n\n\xff \xff\n1 2\n")
        install(Repository(bare), short / "hook.sock")
        tree.git("push", "-q", str(bare), "HEAD:main")
        wait_for(lambda: any(path == str(bare) for path, _ in said))


def test_the_hook_names_no_secret_and_no_repository(short: Path) -> None:
    assert "demo" not in script(short / "hook.sock")
    words = script(short / "hook.sock").replace(str(short), "")
    assert not any(word in words.lower() for word in ("token", "secret", "ph_", "http"))


def test_a_directory_with_odd_letters_is_quoted(bare: Path, tree: UserTree, short: Path) -> None:
    directory = short / "it's $HOME `x`"
    directory.mkdir()
    said: Said = []
    with Pushes(directory / "hook.sock", lambda *told: said.append(told)):
        install(Repository(bare), directory / "hook.sock")
        tree.git("push", "-q", str(bare), "HEAD:main")
        wait_for(lambda: said)


def test_another_user_is_named(bare: Path, tree: UserTree, short: Path) -> None:
    only_root_can("be another user")
    setpriv = shutil.which("setpriv")
    assert setpriv is not None
    said: Said = []
    with Pushes(short / "hook.sock", lambda *told: said.append(told)):
        install(Repository(bare), short / "hook.sock")
        text = hook(bare).read_text().replace("command -v python3", "echo /usr/bin/python3")
        as_other = short / "as-other"
        as_other.write_text(text)
        as_other.chmod(0o755)
        argv = [setpriv, "--reuid=4321", "--clear-groups", str(as_other)]
        subprocess.run(argv, cwd="/", input=b"0 1 refs/heads/x\n", check=True)
        wait_for(lambda: said)
    assert said == [("/", {("refs/heads/x", "1"): "uid 4321"})]
    assert tree
