from __future__ import annotations

import contextlib
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from jerichoci.errors import PikaciError
from jerichoci.exit_codes import EXIT_INFRASTRUCTURE, EXIT_USAGE
from jerichoci.remote.ssh.errors import (
    AuthenticationError,
    HostFullError,
    HostKeyError,
    HostSetupError,
)
from jerichoci.snapshot.git import MINIMUM_VERSION
from jerichoci.snapshot.snapshot import take_snapshot
from jerichoci.status import FailureKind, KeepPolicy, Status
from plans import RUN_ID
from remote.away import away
from remote.far_host import PORT, FarHost, clock_off_by, one_far_host
from remote.leftovers import (
    assert_nothing_is_left,
    kill_orchestrator,
    names,
    pikaci,
    run_directory,
    runs_there,
)
from remote.looked_at import (
    GROUP,
    NO_RETRY,
    USER,
    findings_of,
    nothing_runs,
    other_user,
    said_in_the_record,
    said_twice,
)
from remote.plain_sshd import make_key
from usertree import UserTree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from remote.conftest import WriteHosts
    from runner import Runner

MIB = 1024 * 1024
OLD_PYTHON = """#!/bin/sh
exec /usr/bin/python3 -c '
import sys
sys.version_info, sys.version = (3, 9, 2), "3.9.2 (main)"
program, sys.argv = sys.argv[3], ["-c"] + sys.argv[4:]
exec(program)' "$@"
"""


@contextlib.contextmanager
def mounted(host: FarHost, options: str) -> Iterator[None]:
    """A file system of its own, of 512 KiB where `options` don't say, as the work directory."""
    work = str(host.work_dir)
    host.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", work])
    try:
        yield
    finally:
        host.run(["umount", "--lazy", work])


def install(host: FarHost, name: str, text: str) -> None:
    """Have a program come first in every session's PATH."""
    path = host.directory / "bin" / name
    path.write_text(text)
    path.chmod(0o755)


def log_in_with(host: FarHost, shell: str) -> None:
    """Give root another login shell."""
    passwd = host.directory / "passwd"
    lines = [line.split(":") for line in passwd.read_text().splitlines()]
    # Written in place: it is mounted there.
    passwd.write_text(
        "".join(
            ":".join([*fields[:-1], shell if fields[0] == "root" else fields[-1]]) + "\n"
            for fields in lines
        )
    )


# --- The way there ---


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"address": "nowhere.invalid"}, "(nowhere.invalid:2222) could not be resolved"),
        ({"port": PORT + 1}, "refused the connection"),
    ],
)
async def test_a_name_that_nobody_knows_and_a_port_where_nobody_listens(
    runner: Runner,
    far_host: FarHost,
    hosts_config: WriteHosts,
    extra: dict[str, object],
    words: str,
) -> None:
    hosts_config(far_host, **extra)
    assert words in await said_in_the_record(runner, far_host)


async def test_packets_that_vanish(
    runner: Runner, host: FarHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jerichoci.remote.ssh.connection.CONNECT_SECS", 2.0)
    host.cut()
    assert "was not reached within 2 s" in await said_in_the_record(runner, host)


async def test_a_key_that_is_not_let_in_and_host_keys_that_are_not_known(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts, tmp_path: Path
) -> None:
    offered = f"offers the host key {far_host.host_key_fingerprint}, which is not"
    stranger = {"key": make_key(tmp_path / "stranger")}
    unknown = {"fingerprint": None, "known_hosts": tmp_path / "none"}
    other = f"SHA256:{'A' * 43}"
    kind: type[PikaciError]
    for extra, kind, words in (
        (stranger, AuthenticationError, "rejected every key we offered for user root"),
        (unknown, HostKeyError, offered),
        ({"fingerprint": other}, HostKeyError, f"has changed: expected {other}, got"),
    ):
        hosts_config(far_host, **extra)
        error = await said_twice(runner, far_host, kind)
        assert words in error.message
        assert error.exit_code == EXIT_USAGE


# --- The work directory ---


async def test_a_full_disk(runner: Runner, host: FarHost) -> None:
    for options in ("size=8k", "size=100k", "size=1m,nr_inodes=12"):
        with mounted(host, options):
            error = await said_twice(runner, host, HostFullError)
        assert error.message == (
            f"the disk under the work directory {host.work_dir} on {host.name} is full"
        ), options
        assert error.exit_code == EXIT_INFRASTRUCTURE


async def test_a_disk_without_room_for_the_snapshot(
    runner: Runner, host: FarHost, tmp_path: Path
) -> None:
    tree = UserTree(tmp_path / "big")
    tree.write("big", os.urandom(8 * MIB))
    big = replace(runner, tree=(await take_snapshot(runner.state.root, tree.root)).tree)
    full = f"the disk under the work directory {host.work_dir} on {host.name} is full"
    # Less than the pack needs; and enough for it, but not for the files.
    for size, said in (("4m", full), ("12m", "unable to write file 'big'")):
        with mounted(host, f"size={size}"):
            ended = await big.run(away("job", "true", host, retries=NO_RETRY))
            cause = ended.job("job").cause
            assert cause is not None
            assert said in cause.message
            again = await runner.run(away("job", "cat README", host))
            assert again.said("job") == ["hello"]
    nothing_runs(host)


async def test_a_disk_that_a_job_fills(runner: Runner, host: FarHost) -> None:
    for command in (
        "head -c 20m /dev/zero > $PIKACI_ARTIFACTS/it",
        "head -c 20m /dev/zero > filling",
        "head -c 20m /dev/zero | tr '\\0' x | fold",
    ):
        with mounted(host, "size=8m"):
            ended = await runner.run(away("job", command, host, retries=NO_RETRY))
            job = ended.job("job")
            assert job.failure_kind is FailureKind.INFRASTRUCTURE, command
            assert job.cause is not None
            assert job.cause.message == "what the job printed could not be written to its log"
            assert "work directory, full?" in str(job.cause.hint)
            again = await runner.run(away("job", "cat README", host))
            assert again.said("job") == ["hello"]
    nothing_runs(host)


async def test_a_read_only_disk(runner: Runner, host: FarHost) -> None:
    with mounted(host, "ro"):
        error = await said_twice(runner, host, HostSetupError)
    assert error.message.endswith(f"{host.work_dir} on {host.name} is on a read-only disk")
    assert error.exit_code == EXIT_USAGE


async def test_somebody_elses_directory(runner: Runner, host: FarHost) -> None:
    os.chown(host.work_dir, USER, GROUP)
    try:
        error = await said_twice(runner, host, HostSetupError)
    finally:
        os.chown(host.work_dir, 0, 0)
    assert error.message.endswith(f"on {host.name} belongs to user {USER}, but we log in as user 0")


async def test_a_file_or_a_link_to_nowhere(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts
) -> None:
    (far_host.work_dir / "file").touch()
    (far_host.work_dir / "link").symlink_to("nowhere")
    for below in ("file", "file/below", "link"):
        hosts_config(far_host, work_dir=far_host.work_dir / below)
        error = await said_twice(runner, far_host, HostSetupError)
        assert error.message.endswith(
            f"{far_host.work_dir / below} on {far_host.name} is not a directory"
        )


@pytest.mark.parametrize("name", ['it\'s "a" é $x `y` \\n \\\\ *; 漢', "d" * 150])
async def test_any_path_will_do(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts, name: str
) -> None:
    hosts_config(far_host, work_dir=far_host.work_dir / name)
    ended = await runner.run(
        away("job", 'printf "1..1\\nok\\n" > "$PIKACI_ARTIFACTS/left.tap"; cat README', far_host)
    )
    assert ended.said("job") == ["hello"]
    assert [row.path for row in ended.job("job").artifacts] == ["left.tap"]
    tests = ended.job("job").tests
    assert tests is not None
    assert tests.in_words() == "1 test passed"
    assert (far_host.work_dir / name / "snapshots").is_dir()
    found = await findings_of(runner, far_host)
    assert str(far_host.work_dir / name) in found["work dir"].text


async def test_a_line_break_in_a_path_is_refused(
    runner: Runner, far_host: FarHost, hosts_config: WriteHosts
) -> None:
    hosts_config(far_host, work_dir=f"{far_host.work_dir}/a\nb")
    with pytest.raises(PikaciError, match="a path on the host that is absolute"):
        await runner.run(away("job", "true", far_host))


async def test_nothing_is_executed_on_the_work_directorys_disk(
    runner: Runner, host: FarHost
) -> None:
    with mounted(host, "size=64m,noexec"):
        ended = await runner.run(away("job", "cat README", host))
        assert ended.said("job") == ["hello"]
    nothing_runs(host)


# --- Programs ---


async def test_no_python(runner: Runner, hosts_config: WriteHosts) -> None:
    with one_far_host("bare", environment={"PATH": "/nonexistent"}) as bare:
        hosts_config(bare)
        error = await said_twice(runner, bare, HostSetupError)
    assert error.message.startswith("a login on bare over ssh finds no python3")


async def test_programs_that_are_missing_or_too_old(
    runner: Runner, hosts_config: WriteHosts
) -> None:
    with one_far_host("old") as old:
        hosts_config(old)
        install(old, "python3", OLD_PYTHON)
        error = await said_twice(runner, old, HostSetupError)
        assert error.message == "python3 on old is too old: 3.9.2"
        (old.directory / "bin" / "python3").unlink()

        install(old, "git", "#!/bin/sh\necho git version 2.20.1\n")
        error = await said_twice(runner, old, HostSetupError)
        assert error.message == "host old: git 2.20.1 is too old"
        assert error.hint == f"pikaci needs {MINIMUM_VERSION[0]}.{MINIMUM_VERSION[1]} or later"
        (old.directory / "bin" / "git").unlink()

        old.run(["mount", "--bind", "/dev/null", "/usr/bin/git"])
        error = await said_twice(runner, old, HostSetupError)
        assert error.message == "host old has no `git` on its PATH"


# --- The login ---


async def test_sshd_runs_something_else(runner: Runner, hosts_config: WriteHosts) -> None:
    with one_far_host("forced") as forced:
        hosts_config(forced)
        keys = forced.directory / "authorized_keys"
        key = keys.read_text()
        for command, said in {
            "kill -9 $$": "(it was killed by SIGKILL): it printed nothing",
            "/bin/true": "(it exited with 0): it printed nothing",
            "echo welcome": "(it exited with 0): welcome",
            "internal-sftp": "(it exited with 1): This service allows sftp",
        }.items():
            keys.write_text(f'command="{command}" {key}')
            error = await said_twice(runner, forced, HostSetupError)
            assert f"a login on forced does not run the given command {said}" in error.message


async def test_sshd_opens_no_sessions(runner: Runner, hosts_config: WriteHosts) -> None:
    with one_far_host("few", sshd_options=["MaxSessions 0"]) as few:
        hosts_config(few)
        error = await said_twice(runner, few, HostSetupError)
    assert error.message.startswith(
        "sshd on few refuses to start another program on the connection"
    )


async def test_sshd_opens_too_few_sessions(runner: Runner, hosts_config: WriteHosts) -> None:
    with one_far_host("few", sshd_options=["MaxSessions 1"]) as few:
        hosts_config(few)
        ended = await runner.run(away("job", "true", few, retries=NO_RETRY))
        cause = ended.job("job").cause
        found = await findings_of(runner, few)
    assert cause is not None
    assert cause.message.startswith(
        "sshd on few refuses to start another program on the connection"
    )
    assert found["channels"].status == "bad"
    assert found["channels"].text == cause.message


async def test_what_jobs_can_do_without(runner: Runner, hosts_config: WriteHosts) -> None:
    options = ["MaxSessions 2", "PermitTTY no", "AllowStreamLocalForwarding no"]
    options.append("DisableForwarding yes")
    with one_far_host("strict", sshd_options=options) as strict:
        hosts_config(strict)
        assert (await runner.run(away("job", "cat README", strict))).said("job") == ["hello"]
        found = await findings_of(runner, strict)
    assert [finding for finding in found.values() if finding.status == "bad"] == []


async def test_a_login_shell_that_talks(runner: Runner, host: FarHost) -> None:
    (host.home / ".bashrc").write_text("echo welcome; echo noise >&2; printf 'no end of line'\n")
    assert (await runner.run(away("job", "cat README", host))).said("job") == ["hello"]


async def test_a_login_shell_that_talks_without_end(runner: Runner, host: FarHost) -> None:
    (host.home / ".bashrc").write_text("yes | head -5000\n")
    error = await said_twice(runner, host, HostSetupError)
    assert "prints more than 1000 lines before it runs a command" in error.message


async def test_a_login_shell_that_ends_at_once(runner: Runner, host: FarHost) -> None:
    (host.home / ".bashrc").write_text("echo go away >&2; exit 3\n")
    error = await said_twice(runner, host, HostSetupError)
    assert error.message == (
        f"a login on {host.name} does not run the given command (it exited with 3): go away"
    )


async def test_any_login_shell_will_do(runner: Runner, hosts_config: WriteHosts) -> None:
    with one_far_host("other") as other:
        hosts_config(other, work_dir=other.work_dir / 'it\'s \\\\ "here"!')
        for shell in ("/bin/dash", "/usr/bin/tcsh", "/usr/bin/fish"):
            log_in_with(other, shell)
            ended = await runner.run(away("job", "cat README", other))
            assert ended.said("job") == ["hello"], shell


async def test_a_login_that_is_not_allowed(runner: Runner, hosts_config: WriteHosts) -> None:
    with one_far_host("shut") as shut:
        shell = shut.home / "nologin"
        shell.write_text("#!/bin/sh\necho This account is currently not available.\nexit 1\n")
        shell.chmod(0o755)
        log_in_with(shut, str(shell))
        hosts_config(shut)
        error = await said_twice(runner, shut, HostSetupError)
    assert "This account is currently not available" in error.message


async def test_a_user_who_is_not_root(runner: Runner, hosts_config: WriteHosts) -> None:
    with one_far_host("plain") as plain:
        other = other_user(plain)
        os.chown(plain.work_dir, 0, 0)
        hosts_config(plain, user=other)
        error = await said_twice(runner, plain, HostSetupError)
        assert error.message.endswith(f"belongs to user 0, but we log in as user {USER}")
        hosts_config(plain, user=other, work_dir=plain.work_dir / "below")
        error = await said_twice(runner, plain, HostSetupError)
        assert error.message.endswith("is not writable for us")
        os.chown(plain.work_dir, USER, GROUP)
        hosts_config(plain, user=other)
        text = "id -u; cat README; echo it > $PIKACI_ARTIFACTS/left"
        ended = await runner.run(away("job", text, plain))
        assert ended.said("job") == [str(USER), "hello"]
        assert [row.path for row in ended.job("job").artifacts] == ["left"]
        found = await findings_of(runner, plain)
        assert [finding for finding in found.values() if finding.status == "bad"] == []
        nothing_runs(plain)


# --- Clocks ---


@pytest.mark.parametrize(("offset", "which"), [("+1h", "ahead of"), ("-1h", "behind")])
async def test_a_clock_that_is_an_hour_off_is_told_and_rules_what_goes_from_its_host(
    runner: Runner, hosts_config: WriteHosts, offset: str, which: str, marker: str
) -> None:
    with one_far_host("elsewhen", environment=clock_off_by(offset)) as elsewhen:
        hosts_config(elsewhen, keep={"count": 0, "days": 0, "mib": 0})
        job = away("job", "cat README; sleep 0.1", elsewhen, timeout_secs=30)
        ended = await runner.run(job, keep=KeepPolicy.ALWAYS)
        assert ended.said("job") == ["hello"]
        assert ended.record.created_at <= ended.job("job").attempts[0].started_at
        found = await findings_of(runner, elsewhen)
        assert found["clock"].status == "note"
        # Asking takes its time on a busy machine.
        assert re.match(r"its clock is (60 min 0|59 min 5)\d s ", found["clock"].text)
        assert which in found["clock"].text

        kept = run_directory(runner.state, elsewhen, ended.record.run_id)
        kill_orchestrator(runner, elsewhen, marker)
        assert f"closed {RUN_ID}" in pikaci(runner.state, "reap").out
        assert not runs_there(elsewhen, marker)
        assert names(elsewhen.work_dir / "runs") == [kept.name]
        pikaci(runner.state, "gc")
        assert kept.is_dir()
        assert names(elsewhen.work_dir / "snapshots") == [runner.tree]
        pikaci(runner.state, "gc", "--keep-runs=0")
        assert_nothing_is_left(elsewhen, [runner.state])


# --- Others that will do ---


async def test_jobs_land_on_the_host_that_will_do(
    runner: Runner, two_far_hosts: list[FarHost], hosts_config: WriteHosts
) -> None:
    full, good = two_far_hosts
    path = hosts_config(good)
    with one_far_host("forced", sshd_options=["ForceCommand /bin/true"]) as forced:
        tables = [host.hosts_toml(labels=["any"]) for host in (full, forced, good)]
        path.write_text("\n".join(tables))
        with mounted(full, "size=8k"):
            first = away("first", "sleep 3", labels=("any",), retries=NO_RETRY)
            then = away("then", "hostname", labels=("any",), retries=NO_RETRY, after=["first"])
            ended = await runner.run(first, then)
    assert ended.record.status is Status.PASSED
    assert {job.host for job in ended.record.jobs} == {good.name}
    assert ended.said("then") == [good.name]
    # By then all of them have been looked at.
    reasons = {row.host: row.reason for row in ended.job("then").passed_over}
    assert reasons.keys() == {full.name, forced.name}
    assert "is full" in reasons[full.name]
    assert "does not run the given command" in reasons[forced.name]
