"""plan.json: a target made concrete. Evaluated from Nix, stamped by the engine, never changed.

A plan is a DAG of prepare nodes and execute nodes. It is closed: every store path a job uses is a
prepare node, so that what runs is what was planned.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from jerichoci.errors import CatalogError, RecordError
from jerichoci.machine.control_groups import Limits
from jerichoci.nix.realised import BuildRequest
from jerichoci.plan.artifacts import Artifacts, JobInput
from jerichoci.plan.caches import Cache
from jerichoci.plan.hosts import HostConfig, HostName, known_part
from jerichoci.plan.model import SCHEMA_VERSION, Id, Model, RunId, Timestamp
from jerichoci.plan.network import AllowedNetwork
from jerichoci.plan.rule import ValidationError, before, check, field
from jerichoci.plan.secrets import Secret
from jerichoci.plan.services import Service
from jerichoci.plan.tools import DevShell
from jerichoci.state.ids import prepare_name

if TYPE_CHECKING:
    from collections.abc import Sequence

ARGUMENT_LIMIT = 128 * 1024
"""Bytes that Linux accepts in one argument or one environment entry (MAX_ARG_STRLEN)."""

COPY_BYTES = 1024
"""What copying one output takes in a host command's text, besides the output's name."""
TOTAL_LIMIT = 1024 * 1024
"""Bytes of a command and its environment together; half of what Linux accepts by default, for the
host's own variables come on top."""


def _check_arguments(texts: Sequence[tuple[str, str]]) -> None:
    """Refuse what the kernel would."""
    total = 0
    for name, text in texts:
        if "\0" in text:
            raise ValueError(f"{name} contains a NUL")
        size = len(text.encode("utf-8", "surrogateescape"))
        if size >= ARGUMENT_LIMIT:
            raise ValueError(f"{name} is longer than {ARGUMENT_LIMIT} bytes")
        total += size
    if total >= TOTAL_LIMIT:
        raise ValueError(f"command and env are longer than {TOTAL_LIMIT} bytes together")


class Image(Model):
    """A guest image by role and alias; named, not evaluated."""

    role: Id
    alias: str
    instance_type: Literal["container", "virtual-machine"]

    @property
    def is_vm(self) -> bool:
        return self.instance_type == "virtual-machine"


class NixBuild(Model):
    """A derivation's output, or a store path that evaluation itself added (no `drv_path`)."""

    type: Literal["nix_build"] = "nix_build"
    installable: str
    drv_path: str | None
    out_path: str
    output_name: str = "out"
    residency: Literal["local", "remote"] = "local"
    timeout_secs: int = field(gt=0)

    def request(self) -> BuildRequest:
        return BuildRequest(self.installable, self.drv_path, self.out_path, self.timeout_secs)


class HostCommand(Model):
    """A command on the placement's host, in a private workspace, and the paths it leaves there."""

    type: Literal["host_command"] = "host_command"
    command: str
    outputs: list[str]
    inputs: list[str] = field(
        default=[], description="globs of the files that it is made of; none: made in each run"
    )
    timeout_secs: int = field(gt=0)

    @check
    def _outputs_stay_inside(self) -> HostCommand:
        for output in self.outputs:
            path = PurePosixPath(output)
            if path.is_absolute() or ".." in path.parts or not path.parts:
                raise ValueError(f"output {output!r} leaves the workspace")
        return self

    @check
    def _kernel_accepts_it(self) -> HostCommand:
        # It runs quoted in a text that copies each output, named five times there beside the
        # directory it goes to.
        copies = "".join(5 * shlex.quote(output) for output in self.outputs)
        room = " " * COPY_BYTES * len(self.outputs)
        _check_arguments([("command", shlex.quote(self.command) + copies + room)])
        return self


class PrepareNode(Model):
    """Something made before jobs run and shown to them read-only.

    `prepare_id` is the author's id of it; null for what only a text mentions.
    """

    kind: Literal["prepare"] = "prepare"
    id: Id
    prepare_id: Id | None = None
    description: str = ""
    depends_on: list[str] = []
    placement: str = "local"
    placement_config: dict[str, Any] = {}
    prepare: Annotated[NixBuild | HostCommand, field(discriminator="type")]

    @property
    def name(self) -> str:
        """Its id for people and in logs."""
        return prepare_name(self.id, self.prepare_id)


class Resources(Model):
    """What a job needs of its host, and may use of it; null where it doesn't say.

    Whole CPUs, MiB of memory and of disk, processes and threads at once.
    """

    cpus: int | None = field(default=None, gt=0)
    memory_mib: int | None = field(default=None, gt=0)
    disk_mib: int | None = field(default=None, gt=0)
    pids: int | None = field(default=None, gt=0)

    def limits(self) -> Limits:
        """Those that control groups hold."""
        return Limits(self.cpus, self.memory_mib, self.pids)


class Retries(Model):
    """How many more attempts a job gets after a failure of each kind."""

    infrastructure: int = field(default=0, ge=0)
    test: int = field(default=0, ge=0)


class InputRef(Model):
    """A prepared output as a job sees it; what only the job's text names has no `env`."""

    node_id: Id
    env: str | None = None
    guest_path: str | None = None


WORLD = (
    "artifacts",
    "caches",
    "dev_shell",
    "job_inputs",
    "network",
    "path",
    "pass_env",
    "secrets",
    "services",
    "silence_secs",
)
"""The keys of `Execute` that only jobs have which use them: other plans keep their digests."""


class Execute(Model):
    """One command with a timeout."""

    command: str
    run_as_root: bool = False
    timeout_secs: int = field(gt=0)
    writable_workspace: bool = True
    resources: Resources = Resources()
    env: dict[str, str] = {}
    inputs: list[InputRef] = []
    network: Literal["none", "loopback", "bridge"] | AllowedNetwork | None = None
    silence_secs: int | None = field(default=None, gt=0)
    artifacts: Artifacts | None = None
    job_inputs: list[JobInput] = []
    caches: list[Cache] = []
    dev_shell: DevShell | None = None
    services: list[Service] = []
    path: list[str] = field(default=[], description="nodes whose `bin` comes first on PATH")
    pass_env: list[str] = field(default=[], description="variables of pikaci's own environment")
    secrets: list[Secret] = []
    retries: Retries = Retries()

    @property
    def shown_inputs(self) -> list[InputRef]:
        """The inputs that the job sees: not the images of its services."""
        images = {service.image for service in self.services}
        return [ref for ref in self.inputs if ref.node_id not in images]

    @check
    def _kernel_accepts_it(self) -> Execute:
        texts = [("command", self.command)]
        texts += [(f"env.{name}", f"{name}={value}") for name, value in self.env.items()]
        _check_arguments(texts)
        return self


class ExecuteNode(Model):
    """A job: a command, where it runs (`placement`) and how (`runtime`)."""

    kind: Literal["execute"] = "execute"
    id: str = field(pattern=r"^execute-[a-z0-9][a-z0-9_-]{0,63}$")
    job_id: Id
    description: str = ""
    depends_on: list[str] = []
    placement: str = "local"
    placement_config: dict[str, Any] = {}
    runtime: str = "host_process"
    runtime_config: dict[str, Any] = {}
    execute: Execute


Node = Annotated[PrepareNode | ExecuteNode, field(discriminator="kind")]


class SnapshotSpec(Model):
    """Which of the source's files the jobs see: all but what matches `exclude`."""

    exclude: list[str] = []


def _known_part_of_host(values: object) -> object:
    return known_part(HostConfig, values)


PlannedHost = Annotated[HostConfig, before(_known_part_of_host)]
"""A host that the catalog describes; a later version may know more of it."""


class Plan(Model):
    """A target made concrete."""

    schema_version: Literal[1] = 1
    run_id: RunId | None = None
    target_id: Id
    target_description: str = ""
    system: str
    created_at: Timestamp | None = None
    preconditions: list[str] = []
    images: list[Image] = []
    snapshot: SnapshotSpec = SnapshotSpec()
    reuse: bool = field(default=True, description="whether a run may take the verdict of another")
    hosts: dict[HostName, PlannedHost] = {}
    nodes: list[Node]

    @check
    def _is_a_dag(self) -> Plan:
        by_id = {node.id: node for node in self.nodes}
        if len(by_id) != len(self.nodes):
            raise ValueError("two nodes have one id")
        for node in self.nodes:
            for needed in node.depends_on:
                if needed not in by_id:
                    raise ValueError(
                        f"node {node.id} depends on {needed}, which is not in the plan"
                    )
        try:
            TopologicalSorter({node.id: node.depends_on for node in self.nodes}).prepare()
        except CycleError as error:
            _, circle = error.args
            listed = ", ".join(circle[:-1])
            raise ValueError(f"nodes depend on each other in a circle: {listed}") from None
        return self

    @property
    def prepares(self) -> list[PrepareNode]:
        """The prepare nodes, in the plan's order."""
        return [node for node in self.nodes if isinstance(node, PrepareNode)]

    @property
    def jobs(self) -> list[ExecuteNode]:
        """The execute nodes, in the plan's order."""
        return [node for node in self.nodes if isinstance(node, ExecuteNode)]

    def closure(self, node_ids: set[str]) -> set[str]:
        """The ids of `node_ids` and of all they depend on."""
        by_id = {node.id: node for node in self.nodes}
        found: set[str] = set()
        stack = list(node_ids)
        while stack:
            name = stack.pop()
            if name not in found:
                found.add(name)
                stack += by_id[name].depends_on
        return found

    def dump(self) -> dict[str, Any]:
        """The plan as JSON values; a job has no key of a part of its world that it doesn't use."""
        values = self.model_dump()
        if self.reuse:
            del values["reuse"]
        for node in values["nodes"]:
            if node.get("prepare", {}).get("inputs") == []:
                del node["prepare"]["inputs"]
            if execute := node.get("execute"):
                for key in WORLD:
                    if not execute[key]:
                        del execute[key]
                resources = execute["resources"]
                for key in ("disk_mib", "pids"):
                    if resources[key] is None:
                        del resources[key]
        return values


def plan_digest(plan: Plan) -> str:
    """SHA-256 of the plan's canonical JSON without what a run stamps on it; hexadecimal."""
    values = plan.dump()
    del values["run_id"], values["created_at"]
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def parse_plan(values: object, origin: str) -> Plan:
    """Read a plan from JSON values; `origin` names their source in errors.

    Raises:
        RecordError: the plan is of a later schema.
        CatalogError: it isn't a plan.
    """
    version = values.get("schema_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise RecordError(
            f"{origin} has plan schema {version}; this pikaci knows {SCHEMA_VERSION}",
            "use the pikaci that made it, or a later one",
        )
    try:
        return Plan.model_validate(values)
    except ValidationError as error:
        raise CatalogError(
            f"{origin} is not a plan: {error}",
            "the catalog's `pikaci` and this CLI differ",
        ) from error
