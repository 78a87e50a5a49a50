"""The machines that jobs run on, as `$XDG_CONFIG_HOME/pikaci/hosts.toml` and plans describe them.

    [local.incus]                        # this machine's Incus
    socket = "/var/lib/incus/unix.socket"   # else INCUS_SOCKET, INCUS_DIR, or this
    project = "pikaci"
    profile = "default"
    pool = "fast"                        # else the one of the profile's root disk

    [hosts.build1]                       # every key is optional
    address = "build1.example"           # else the name, which ssh's own configuration may know
    labels = ["linux", "big"]
    capacity = { cpus = 16, memory_mib = 65536, jobs = 8 }

A plan has the hosts of its catalog; what the user's file says of a host wins, key by key.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from jerichoci.errors import UsageError
from jerichoci.placement import INCUS_PROJECT, IncusSettings, LocalSettings, StandbySettings
from jerichoci.plan.model import Setting
from jerichoci.plan.rule import Rule, ValidationError, after, field, strict
from jerichoci.state.dataclass import dataclass
from jerichoci.state.ids import ID_PATTERN
from jerichoci.state.natural import natural
from jerichoci.state.reading import read_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HOST_NAME_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9._@-]*"
"""A host's name is one that ssh's configuration can have."""
LINE_LIMIT_SECS = 600
HIGHEST_PORT = 65535

SettingT = TypeVar("SettingT", bound=Setting)


def _like(pattern: str, what: str) -> Rule:
    """The check that a text matches all of `pattern`; `what` says which texts do."""
    expression = re.compile(pattern)

    def check(text: str) -> str:
        if not expression.fullmatch(text):
            raise ValueError(f"{text!r} is not {what}")
        return text

    return after(check)


_PATH = r"~?/[^\0\n\r]+"
_INSIDE = r"(?!.*/\.\.(/|$))"
_HERE = "a path that is absolute or begins with `~/`"
_THERE = "a path on the host that is absolute or begins with `~/`, without `..`"

HostName = Annotated[
    str, _like(HOST_NAME_PATTERN, "a host's name: letters, digits and `._@-`, none of `.@-` first")
]
Label = Annotated[
    str,
    _like(ID_PATTERN, "a label: lower-case letters, digits and `_-`, neither of `_-` first"),
]
Address = Annotated[
    str, _like(r"[A-Za-z0-9_:][A-Za-z0-9._:%-]*", "the name or IP address of a host")
]
User = Annotated[str, _like(r"[^\s@:-][^\s:]*", "the name of a user")]
Jump = Annotated[
    str, _like(r"[^\s,-][^\s,]*(,[^\s,-][^\s,]*)*", "`[user@]host[:port]`, or several")
]
Fingerprint = Annotated[
    str,
    _like(r"SHA256:[A-Za-z0-9+/]{43}", "`SHA256:` and 43 characters, as `ssh-keygen -l` prints"),
]
PathHere = Annotated[str, _like(_PATH, _HERE)]
PathThere = Annotated[str, _like(_INSIDE + _PATH, _THERE)]
DirectoryThere = Annotated[str, _like("(?!.*:)" + _INSIDE + _PATH, f"{_THERE} and `:`")]
Name = Annotated[str, field(min_length=1)]
Positive = Annotated[int, strict(), field(gt=0)]
Natural = Annotated[int, strict(), field(ge=0)]
Port = Annotated[int, strict(), field(gt=0, le=HIGHEST_PORT)]


class HostCapacity(Setting):
    """What a host gives to jobs; CPUs and memory are as the host says, where this doesn't."""

    cpus: Positive | None = None
    memory_mib: Positive | None = None
    jobs: Positive | None = None

    def holds(self, cpus: int | None, memory_mib: int | None) -> bool:
        """Whether a job with these `resources` can run on the host, as far as is known."""
        pairs = [(self.cpus, cpus), (self.memory_mib, memory_mib)]
        return all(has is None or asked is None or has >= asked for has, asked in pairs)

    def __str__(self) -> str:
        words = [
            f"{self.cpus} CPUs" if self.cpus else "",
            f"{self.memory_mib} MiB" if self.memory_mib else "",
        ]
        return " and ".join(word for word in words if word) or "as much as it has"


class HostKeep(Setting):
    """How many snapshots a host keeps for later runs, how long, and of which size together."""

    count: Natural = 20
    days: Natural = 14
    mib: Natural = 20480


class HostNix(Setting):
    """How a host's Nix is served."""

    signing_key: PathHere | None = None

    @property
    def signing_key_path(self) -> Path | None:
        """The secret key here that paths are signed with before they are copied there."""
        return _here(self.signing_key)


class IncusSite(Setting):
    """Where guests are made."""

    socket: Name | None = None
    project: Name = INCUS_PROJECT
    profile: Name = "default"
    pool: Name | None = None

    @property
    def settings(self) -> IncusSettings:
        """The same for those who use it."""
        return IncusSettings(self.socket, self.project, self.profile, self.pool)


class HostConfig(Setting):
    """What is said of a remote host. None leaves it to ssh's configuration, or to the host."""

    address: Address | None = None
    port: Port | None = None
    user: User | None = None
    key: PathHere | None = None
    fingerprint: Fingerprint | None = None
    known_hosts: PathHere | None = None
    proxy_jump: Jump | None = None
    work_dir: PathThere | None = None
    search_path: tuple[DirectoryThere, ...] = ()
    labels: tuple[Label, ...] = ()
    line_limit_secs: Positive = LINE_LIMIT_SECS
    capacity: HostCapacity = HostCapacity()
    keep: HostKeep = HostKeep()
    incus: IncusSite = IncusSite()
    nix: HostNix = HostNix()

    @property
    def key_path(self) -> Path | None:
        """The file of the key to log in with."""
        return _here(self.key)

    @property
    def known_hosts_path(self) -> Path | None:
        """The file of the host keys that are trusted."""
        return _here(self.known_hosts)


class Standby(Setting):
    """Guests that are made before a job needs one."""

    guests: Natural = 0
    minutes: Positive = 60
    free_mib: Natural = 2048


class LocalHost(Setting):
    """This machine."""

    search_path: tuple[DirectoryThere, ...] = ()
    """Directories that come first in the PATH of jobs that are processes here."""
    secret_branches: tuple[str, ...] | None = None
    """Globs of the branches of which runs get secrets; None: whatever the catalog says."""
    incus: IncusSite = IncusSite()
    standby: Standby = Standby()


class HostsFile(Setting):
    """What the hosts file says."""

    local: LocalHost = LocalHost()
    hosts: dict[HostName, HostConfig] = field(default_factory=dict)


@dataclass(frozen=True)
class RemoteHost:
    """A machine that ssh reaches."""

    name: str
    config: HostConfig

    @property
    def address(self) -> str:
        """What to connect to."""
        return self.config.address or self.name


def hosts_file(env: Mapping[str, str] | None = None) -> Path:
    """Where hosts are described."""
    env = os.environ if env is None else env
    if env.get("PIKACI_HOSTS_FILE"):
        return Path(env["PIKACI_HOSTS_FILE"])
    home = env.get("XDG_CONFIG_HOME") or str(Path(env.get("HOME", "/")) / ".config")
    return Path(home) / "pikaci" / "hosts.toml"


def load_hosts(path: Path | None = None, answers: Path | None = None) -> HostsFile:
    """The hosts file; empty, if it is missing. It is validated once if `answers` are kept."""
    path = path or hosts_file()
    try:
        text = read_file(path).decode()
        import tomllib

        values = tomllib.loads(text)
        if answers is None:
            return HostsFile.model_validate(values)
        from jerichoci.plan.once import read_once

        return read_once("hosts", values, HostsFile.model_validate, answers)
    except FileNotFoundError:
        return HostsFile()
    except ValidationError as error:
        raise UsageError(f"{path}: {error}", "docs/hosts.md has its keys") from error
    except RecursionError:
        raise UsageError(f"{path} nests tables too deep", "fix or remove it") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path} can't be read: {why}", "fix or remove it") from error


def local_settings(answers: Path | None = None) -> LocalSettings:
    """What the hosts file says of this machine; `answers` as in `load_hosts`."""
    local = load_hosts(answers=answers).local
    standby = StandbySettings(**local.standby.model_dump())
    return LocalSettings(local.search_path, local.incus.settings, standby)


def known_hosts_of_run(
    plan_hosts: Mapping[str, HostConfig], file: HostsFile
) -> dict[str, RemoteHost]:
    """The hosts of a plan and of the user's file, by name; the file's keys win."""
    merged = {
        name: _overlaid(plan_hosts.get(name, HostConfig()), file.hosts.get(name, HostConfig()))
        for name in sorted({*plan_hosts, *file.hosts}, key=natural)
    }
    return {name: RemoteHost(name, config) for name, config in merged.items()}


def fitting(
    hosts: Mapping[str, RemoteHost],
    placement_config: Mapping[str, Any],
    cpus: int | None = None,
    memory_mib: int | None = None,
) -> list[RemoteHost]:
    """The hosts that a node may run on, by its `host` or its `labels`; at least one."""
    name = placement_config.get("host")
    if name is None:
        found = _labelled(hosts, placement_config.get("labels") or ())
    elif name in hosts:
        found = [hosts[name]]
    else:
        raise _no_such_host(name, hosts)
    large = [host for host in found if host.config.capacity.holds(cpus, memory_mib)]
    if not large:
        raise _too_small(found, HostCapacity(cpus=cpus, memory_mib=memory_mib))
    return large


def known_part(model: type[Setting], values: object) -> object:
    """JSON values without the keys, at every level, that this version's `model` doesn't know."""
    if not isinstance(values, dict):
        return values
    kept = {}
    for key, default in model.model_fields.items():
        if key in values:
            is_nested = isinstance(default, Setting)
            kept[key] = known_part(type(default), values[key]) if is_nested else values[key]
    return kept


def _overlaid(lower: SettingT, upper: SettingT) -> SettingT:
    changes = {}
    for key in upper.model_fields_set:
        value = getattr(upper, key)
        changes[key] = (
            _overlaid(getattr(lower, key), value) if isinstance(value, Setting) else value
        )
    return lower.with_(**changes)


def _labelled(hosts: Mapping[str, RemoteHost], labels: Iterable[str]) -> list[RemoteHost]:
    wanted = set(labels)
    found = [host for host in hosts.values() if wanted <= set(host.config.labels)]
    if found:
        return found
    known = sorted({label for host in hosts.values() for label in host.config.labels})
    what = "label" if len(wanted) == 1 else "labels"
    there = f"the known ones are {_listed(known)}" if known else "no host has any"
    raise UsageError(
        f"no host has the {what} {_listed(sorted(wanted))}; {there}",
        f"give a host `labels` in {hosts_file()}, or in the catalog's `hosts`",
    )


def _no_such_host(name: str, hosts: Mapping[str, RemoteHost]) -> UsageError:
    from difflib import get_close_matches

    near = get_close_matches(name, hosts, n=1)
    guess = f"did you mean `{near[0]}`? Else " if near else ""
    table = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'
    return UsageError(
        f"unknown host `{name}`",
        f"{guess}add it as [hosts.{table}] to {hosts_file()}, or to the catalog's `hosts`",
    )


def _too_small(hosts: Iterable[RemoteHost], asked: HostCapacity) -> UsageError:
    there = ", ".join(f"`{host.name}` has {host.config.capacity}" for host in hosts)
    return UsageError(
        f"no host is large enough for {asked}: {there}",
        f"ask for less in the job's `resources`, or raise the host's `capacity` in {hosts_file()}",
    )


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _here(path: str | None) -> Path | None:
    return Path(path).expanduser() if path else None
