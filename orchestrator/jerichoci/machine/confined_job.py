"""A job's command and the place it works in, held as its host holds jobs."""

import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jerichoci.machine.confinement import Confinement, with_env
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from jerichoci.machine.job_start import Start

BASH = ("--noprofile", "--norc", "-c")


@dataclass(frozen=True)
class ConfinedJob:
    """Paths are relative to the directory in which it is started.

    Relative, because an overlay's options can't carry every character a path may have.
    """

    confinement: Confinement
    command: str
    env: Mapping[str, str]
    """What the command has beside the host's environment, and what sets it up must not hear of."""
    snapshot: str
    workspace: str
    """The root of a `Workspace`."""
    kind: str
    """As of `Confinement.workspace_kind`."""
    own_network: bool = False
    """Whether it has a network namespace of its own, in which nothing is up."""
    setup: str = ""
    """A shell text that is run in its namespaces, before anything of it."""
    inside: Sequence[str] = ()
    """What runs the command in what `setup` made."""

    def start(
        self, env: Mapping[str, str], given: Mapping[str, str], groups: Sequence[str]
    ) -> "Start":
        """What it is started with, in the host's environment; `given` is for its setup alone."""
        held = self.confinement
        bash = shutil.which("bash", path=env.get("PATH")) or "bash"
        before = [*self.inside, *held.drop]
        if before:  # programs of the host, not of the command's PATH
            before += with_env(self.env)
        way = "group"
        if held.namespaces:
            way = "user" if held.drop else "root"
        return {
            "way": way,
            "entered": held.entered,
            "own_network": self.own_network,
            "kind": self.kind,
            "snapshot": self.snapshot,
            "workspace": self.workspace,
            "overlay_options": held.overlay_options,
            "setup": [bash, *BASH, self.setup] if self.setup and held.namespaces else (),
            "setup_env": {**env, **given},
            "program": [*before, bash, *BASH, self.command],
            "env": dict(env) if before else {**env, **self.env},
            "groups": groups,
        }
