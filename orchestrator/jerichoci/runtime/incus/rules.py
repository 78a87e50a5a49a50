"""What a project's configuration forbids of what guests need, and the commands that allow it."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jerichoci.plan.plan import Resources
    from jerichoci.runtime.incus.api import Profile

SIZES = {"limits.cpu": "2", "limits.memory": "2GiB", "limits.processes": "10000"}
"""What a guest must have where its project limits their sum, and an example."""
CLUSTER = "restricted.cluster.target"
"""Whether a restricted project may ask for a member of the cluster."""
ACCESS = "restricted.networks.access"
TRUE = {"true", "1", "yes", "on"}
ROOT_SIZE = "10GiB"
KINDS = {"container": "limits.containers", "virtual-machine": "limits.virtual-machines"}


@dataclass(frozen=True)
class Needs:
    """What guests are to be, and to have."""

    kinds: frozenset[str]
    networks: frozenset[str] = frozenset()
    jobs: Mapping[str, Resources] = field(default_factory=dict)
    """What each job declares, by its id; nothing where no job is known."""
    member: str | None = None
    """Which member of a cluster they must be on."""


@dataclass
class Objections:
    """What is forbidden, in words, and the settings that allow it."""

    texts: list[str] = field(default_factory=list)
    project: dict[str, str] = field(default_factory=dict)
    profile: dict[str, str] = field(default_factory=dict)
    root: dict[str, str] = field(default_factory=dict)

    def commands(self, project: str, profile: str) -> str:
        """The commands that make these settings."""
        at = f"--project {project}"
        commands = {
            f"incus project set {project} {_words(self.project)}": self.project,
            f"incus profile set {profile} {_words(self.profile)} {at}": self.profile,
            f"incus profile device set {profile} root {_words(self.root)} {at}": self.root,
        }
        return ", ".join(f"`{command}`" for command, settings in commands.items() if settings)


def objections(config: Mapping[str, str], profile: Profile, pool: str, needs: Needs) -> Objections:
    """What a project with this configuration has against guests with such needs."""
    found = Objections()
    if config.get("restricted", "").lower() in TRUE:
        _check_restrictions(found, config, sorted(needs.networks))
        if needs.member and config.get(CLUSTER) != "allow":
            found.texts.append(
                f"it forbids the choice of member {needs.member} of the cluster (`{CLUSTER}`)"
            )
            found.project[CLUSTER] = "allow"
    for kind in sorted(needs.kinds):
        for key in ("limits.instances", KINDS[kind]):
            if config.get(key) == "0":
                found.texts.append(f"it allows no {kind} (`{key}` is 0)")
                found.project[key] = "20"
    for key in SIZES:
        if key in config and key not in profile.config:
            _check_size(found, key, needs)
    sized = [key for key in ("limits.disk", f"limits.disk.pool.{pool}") if key in config]
    if sized and not profile.root.get("size"):
        found.texts.append(f"its guests must have a size for their root disk (`{sized[0]}` is set)")
        found.root["size"] = ROOT_SIZE
    return found


def _check_restrictions(
    found: Objections, config: Mapping[str, str], networks: Sequence[str]
) -> None:
    disk, paths, nic = (f"restricted.devices.{name}" for name in ("disk", "disk.paths", "nic"))
    if config.get(disk) != "allow":
        found.texts.append(f"it allows guests no directories of the host (`{disk}`)")
        found.project[disk] = "allow"
    if config.get(paths):
        found.texts.append(
            f"it allows guests no directories with shifted owners (`{paths}` is set)"
        )
        found.project[paths] = ""
    if networks and config.get(nic) != "allow":
        found.texts.append(f"it allows guests no bridges of the host (`{nic}`)")
        found.project[nic] = "allow"
    access = [name for name in config.get(ACCESS, "").split(",") if name]
    if access and (lacking := [name for name in networks if name not in access]):
        found.texts.append(f"it has no access to {', '.join(lacking)} (`{ACCESS}`)")
        found.project[ACCESS] = ",".join([*access, *lacking])


def _check_size(found: Objections, key: str, needs: Needs) -> None:
    who = "its guests"
    if declares := {"limits.cpu": "cpus", "limits.memory": "memory_mib"}.get(key):
        missing = [job for job, has in needs.jobs.items() if getattr(has, declares) is None]
        if not missing:
            return
        who = f"job {missing[0]}"
    found.texts.append(f"{who} must have `{key}`, of which the project limits the sum")
    found.profile[key] = SIZES[key]


def _words(settings: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in settings.items())
