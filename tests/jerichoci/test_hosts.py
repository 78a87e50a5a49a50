"""What a hosts file may say of other machines, and which of them a node may run on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jerichoci.errors import UsageError
from jerichoci.placement import IncusSettings
from jerichoci.plan.hosts import (
    HostConfig,
    HostsFile,
    RemoteHost,
    fitting,
    hosts_file,
    known_hosts_of_run,
    load_hosts,
)

FINGERPRINT = "SHA256:" + "A1+/" * 10 + "abc"

EVERYTHING = f"""
[local.incus]
project = "ci"

[hosts.build1]
address = "build1.example"
port = 2222
user = "ci"
key = "~/.ssh/id_ci"
fingerprint = "{FINGERPRINT}"
known_hosts = "/etc/hosts-of-ci"
proxy_jump = "me@bastion:22"
work_dir = "/var/lib/pikaci-host"
search_path = ["/opt/nix/bin", "~/bin"]
labels = ["linux", "big"]
line_limit_secs = 60
capacity = {{ cpus = 4, memory_mib = 4096, jobs = 2 }}
keep = {{ count = 3, days = 0, mib = 100 }}
incus = {{ socket = "/run/incus.socket", project = "p", profile = "q", pool = "r" }}
nix = {{ signing_key = "~/.config/nix/secret" }}

[hosts."mac.example"]
"""

settings = st.fixed_dictionaries(
    {},
    optional={
        "address": st.sampled_from(["a", "b.example", "::1"]),
        "port": st.integers(1, 65535),
        "user": st.sampled_from(["x", "y"]),
        "labels": st.lists(st.sampled_from(["linux", "big"])),
        "line_limit_secs": st.integers(1, 1000),
        "capacity": st.fixed_dictionaries(
            {}, optional={"cpus": st.integers(1, 9), "jobs": st.integers(1, 9)}
        ),
        "keep": st.fixed_dictionaries({}, optional={"count": st.integers(0, 9)}),
    },
)


def host(name: str = "build1", **config: object) -> RemoteHost:
    return RemoteHost(name, HostConfig.model_validate(config))


def by_name(*hosts: RemoteHost) -> dict[str, RemoteHost]:
    return {one.name: one for one in hosts}


def read(tmp_path: Path, text: str) -> HostsFile:
    (tmp_path / "hosts.toml").write_text(text)
    return load_hosts(tmp_path / "hosts.toml")


def refusal(
    hosts: dict[str, RemoteHost],
    placement_config: dict[str, Any],
    **resources: int,
) -> UsageError:
    with pytest.raises(UsageError) as refused:
        fitting(hosts, placement_config, **resources)
    return refused.value


def test_a_hosts_file_says_all_of_a_host(tmp_path: Path) -> None:
    file = read(tmp_path, EVERYTHING)
    build1 = file.hosts["build1"]
    assert (build1.address, build1.port, build1.user) == ("build1.example", 2222, "ci")
    assert build1.fingerprint == FINGERPRINT
    assert build1.labels == ("linux", "big")
    assert (build1.capacity.cpus, build1.capacity.jobs) == (4, 2)
    assert (build1.keep.count, build1.keep.days, build1.keep.mib) == (3, 0, 100)
    assert (build1.incus.project, file.local.incus.project) == ("p", "ci")


def test_a_hosts_file_is_validated_once_until_it_changes(tmp_path: Path) -> None:
    file, answers = tmp_path / "hosts.toml", tmp_path / "answers"
    texts = (
        '[hosts.one]\nlabels = ["big"]\ncapacity = { jobs = 2 }\n[local.standby]\nguests = 1\n',
        "[local.standby]\nguests = 2\n",
    )
    for text in texts:
        file.write_text(text)
        first = load_hosts(file, answers)
        with patch.object(HostsFile, "model_validate", side_effect=AssertionError):
            assert load_hosts(file, answers) == first
        assert first == load_hosts(file)
    file.write_text("[local.standby]\nguest = 1\n")
    for _ in range(2):
        with pytest.raises(UsageError, match=r"local.standby.guest: this key is not known"):
            load_hosts(file, answers)


def test_a_host_of_which_nothing_is_said_has_the_defaults(tmp_path: Path) -> None:
    mac = read(tmp_path, EVERYTHING).hosts["mac.example"]
    assert mac == HostConfig()
    assert (mac.line_limit_secs, mac.keep.count, mac.keep.days, mac.keep.mib) == (
        *(600, 20, 14),
        20480,
    )
    assert RemoteHost("mac.example", mac).address == "mac.example"


def test_without_a_hosts_file_there_are_no_hosts(tmp_path: Path) -> None:
    assert load_hosts(tmp_path / "hosts.toml") == HostsFile()


def test_files_here_may_be_named_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    build1 = read(tmp_path, EVERYTHING).hosts["build1"]
    assert build1.key_path == Path("/home/me/.ssh/id_ci")
    assert build1.known_hosts_path == Path("/etc/hosts-of-ci")
    assert build1.nix.signing_key_path == Path("/home/me/.config/nix/secret")
    assert HostConfig().key_path is None


def test_the_hosts_file_is_where_the_user_keeps_configuration() -> None:
    assert hosts_file({"HOME": "/h"}) == Path("/h/.config/pikaci/hosts.toml")
    assert hosts_file({"HOME": "/h", "XDG_CONFIG_HOME": "/c"}) == Path("/c/pikaci/hosts.toml")


WRONG = {
    "address": ['""', '"-oProxyCommand=x"', '"ci@build1"'],
    "port": ["0", "65536", '"22"', "true"],
    "user": ['"-x"', '"a b"'],
    "key": ['"id_ci"', '"~other/id_ci"'],
    "fingerprint": ['"SHA256:short"', '"MD5:00:11"'],
    "known_hosts": ['""'],
    "proxy_jump": ['"-x"', '"a,,b"'],
    "work_dir": ['"/"', '"work"', '"/../x"', '"/a/.."', '"/a\\nb"'],
    "search_path": ['"/opt/bin"'],
    "search_path.0": ['["bin"]'],
    "search_path.1": ['["/a", "/b:/c"]'],
    "labels": ["5"],
    "labels.0": ['["Linux"]', "[5]"],
    "line_limit_secs": ["0", "1.5"],
    "capacity": ["4"],
    "capacity.cpus": ["{ cpus = 0 }"],
    "capacity.jobs": ['{ jobs = "2" }'],
    "capacity.cpu": ["{ cpu = 1 }"],
    "keep.count": ["{ count = -1 }"],
    "keep.weeks": ["{ weeks = 1 }"],
    "incus.project": ['{ project = "" }'],
    "nix.key": ['{ key = "/x" }'],
    "nix.signing_key": ['{ signing_key = "secret" }'],
    "adress": ['"x"'],
}


@pytest.mark.parametrize(("key", "value"), [(key, row) for key in WRONG for row in WRONG[key]])
def test_what_is_wrong_is_refused_by_its_path(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(UsageError) as refused:
        read(tmp_path, f"[hosts.build1]\n{key.partition('.')[0]} = {value}\n")
    assert refused.value.message.startswith(f"{tmp_path}/hosts.toml: hosts.build1.{key}: ")
    assert refused.value.hint == "docs/hosts.md has its keys"


@pytest.mark.parametrize("name", ["-x", ".x", "a b", "", "a/b", "a\\nb"])
def test_a_name_that_ssh_could_misread_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not a host's name"):
        read(tmp_path, f'[hosts."{name}"]\n')


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        *((text, r"/hosts\.toml") for text in ("[hosts", 'hosts = "x"', "hosts = [")),
        *((text, r"hosts\.toml: local: ") for text in ("local = 5", "local = []", 'local = "x"')),
        *((f"[{key}]", rf"{key}: .*not known") for key in ("locla", "local.inkus")),
        *(
            (f'[local.incus]\n{key} = ""', rf"local\.incus\.{key}: .*at least 1 character")
            for key in ("socket", "project", "profile", "pool")
        ),
    ],
)
def test_another_mistake_is_refused_by_its_place(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        read(tmp_path, text)


@pytest.mark.parametrize("text", ["", "[local]\n", "[local.incus]\n"])
def test_what_says_nothing_of_incus_leaves_it_as_installed(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).local.incus.settings == IncusSettings()


@given(settings, settings)
def test_what_the_user_says_of_a_host_wins_key_by_key(
    plans: dict[str, Any], users: dict[str, Any]
) -> None:
    def merged(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
        both = {key: merged(lower.get(key, {}), upper[key])
                for key in upper if isinstance(upper[key], dict)}  # fmt: skip
        return {**lower, **upper, **both}

    file = HostsFile.model_validate({"hosts": {"build1": users}})
    known = known_hosts_of_run({"build1": HostConfig.model_validate(plans)}, file)
    assert known == by_name(host(**merged(plans, users)))


def test_hosts_of_the_plan_and_of_the_user_are_known() -> None:
    file = HostsFile.model_validate({"hosts": {"mine": {"user": "me"}}})
    known = known_hosts_of_run({"theirs": HostConfig(user="ci")}, file)
    assert known == by_name(host("mine", user="me"), host("theirs", user="ci"))


def test_a_node_gets_the_host_it_names() -> None:
    hosts = by_name(host("a"), host("b"))
    assert fitting(hosts, {"host": "b"}, cpus=99) == [hosts["b"]]


def test_a_node_gets_the_hosts_that_have_all_its_labels_and_room() -> None:
    hosts = by_name(
        host("a", labels=["linux", "big", "kvm"], capacity={"cpus": 8, "memory_mib": 1000}),
        host("b", labels=["linux"]),
        host("c", labels=["linux", "big"]),
        host("d", labels=["linux", "big"], capacity={"cpus": 7}),
    )
    found = fitting(hosts, {"labels": ["linux", "big"]}, cpus=8, memory_mib=1000)
    assert [one.name for one in found] == ["a", "c"]


def test_a_host_that_is_not_known_is_refused_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/c")
    error = refusal(by_name(host("build1")), {"host": "biuld1"})
    assert error.message == "unknown host `biuld1`"
    assert error.hint == (
        "did you mean `build1`? Else add it as [hosts.biuld1] to /c/pikaci/hosts.toml, or to the"
        " catalog's `hosts`"
    )
    assert 'add it as [hosts."a.example"] to' in str(refusal({}, {"host": "a.example"}))


def test_labels_that_no_host_has_are_refused_with_the_known_ones() -> None:
    wanted = {"labels": ["mac", "big"]}
    sentence = "no host has the labels `big`, `mac`; "
    assert refusal({}, wanted).message == f"{sentence}no host has any"
    known = by_name(host(labels=["linux", "big"]))
    assert refusal(known, wanted).message == f"{sentence}the known ones are `big`, `linux`"


def test_hosts_that_are_all_too_small_are_refused_with_their_capacity() -> None:
    hosts = by_name(
        host("a", labels=["x"], capacity={"cpus": 2}),
        host("b", labels=["x"], capacity={"memory_mib": 512}),
    )
    error = refusal(hosts, {"labels": ["x"]}, cpus=4, memory_mib=1024)
    assert error.message == (
        "no host is large enough for 4 CPUs and 1024 MiB: `a` has 2 CPUs, `b` has 512 MiB"
    )


@pytest.mark.parametrize("kind", ["directory", "fifo", "bytes", "deep", "huge", "pair"])
def test_a_hosts_file_that_is_none_is_refused_by_its_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "hosts.toml"
    match kind:
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "bytes":
            path.write_bytes(b"\xff")
        case "deep":
            path.write_text("x = " + "[" * 200_000)
        case "huge":
            path.touch()
            os.truncate(path, 2**40)
        case _:
            path.write_text('x = "\\ud800"')
    with pytest.raises(UsageError, match=r"hosts\.toml (can't be read|nests)"):
        load_hosts(path)
