"""The program `tart` as far as its documentation goes, with namespaces of Linux for VMs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tart.command_line import Arguments, Syntax, number, parse
from tart.failure import MISSING, NOT_MADE, Failure, missing, not_running, wrong
from tart.faults import Faults
from tart.home import CONTROL_SOCKET, VM, Home, is_remote, remote_file, remote_name

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION = "2.30.0"
MOST_MACOS_VMS = 2
LEAST_CPUS, LEAST_BYTES = 1, 128 << 20
STOP_SECS = 30
POLL_SECS = 0.01
CONNECT_SECS = 0.3
"""How long `exec` tries to reach the guest agent; the real one's are 30."""

NOT_THERE = {"create", "login", "logout", "ip", "pull", "push", "import", "export", "prune"}
NOT_THERE |= {"rename", "fqn", "suspend"}

SYNTAX = {
    "clone": Syntax("tart clone <source-name> <new-name>", ("source-name", "new-name")),
    "set": Syntax(
        "tart set <name> [--cpu <cpu>] [--memory <memory>]", ("name",), (), ("--cpu", "--memory")
    ),
    "run": Syntax(
        "tart run <name> [--dir <dir> ...]",
        ("name",),
        ("--no-graphics", "--no-audio", "--no-clipboard"),
        ("--dir",),
    ),
    "exec": Syntax(
        "tart exec [-i] [-t] <name> <command> ...",
        ("name", "command"),
        ("-i", "-t"),
        several=True,
        passes_through=True,
    ),
    "stop": Syntax("tart stop <name> [--timeout <timeout>]", ("name",), (), ("-t", "--timeout")),
    "delete": Syntax("tart delete <name> ...", ("name",), several=True),
    "list": Syntax("tart list", (), ("-q", "--quiet"), ("--source", "--format")),
    "get": Syntax("tart get <name> [--format <format>]", ("name",), (), ("--format",)),
    # No subcommand of the real one's: what the tests have happen in a VM.
    "fake-order": Syntax("tart fake-order <name> <order>", ("name", "order")),
}


class Tart:
    """One call of the program."""

    def __init__(self, home: Home, argv: list[str]) -> None:
        self.home = home
        self.line = " ".join(argv)
        self.faults = Faults(home.path)

    def clone(self, arguments: Arguments) -> int:
        source, name = arguments.positionals
        if is_remote(name):
            raise wrong("<new-name> should be a local name", SYNTAX["clone"].usage)
        self.home.clone(self.home.image(source) if is_remote(source) else self._open(source), name)
        return 0

    def set(self, arguments: Arguments) -> int:
        vm = self._open(arguments.positionals[0])
        config = vm.config()
        is_mac = config["os"] == "darwin"
        cpus, mebibytes = number(arguments, "--cpu"), number(arguments, "--memory")
        if cpus is not None:
            least = config["cpuCountMin"] if is_mac else LEAST_CPUS
            if cpus < least:
                message = f"VM should have {least} CPU cores at minimum (requested {cpus})"
                raise Failure(f"Error: LessThanMinimalResourcesError: {message}")
            config["cpuCount"] = cpus
        if mebibytes is not None:
            least = config["memorySizeMin"] if is_mac else LEAST_BYTES
            size = mebibytes << 20
            if size < least:
                message = f"VM should have {least} bytes of memory at minimum (requested {size})"
                raise Failure(f"Error: LessThanMinimalResourcesError: {message}")
            config["memorySize"] = size
        vm.save(config)
        return 0

    def run(self, arguments: Arguments) -> int:
        from tart.directory_share import checked, parse_share

        name = arguments.positionals[0]
        vm = self._open(name)
        config = vm.config()
        shares = checked([parse_share(text) for text in arguments.options.get("--dir", [])])
        faults = self.faults.take("boot", self.line)
        with self.home.lock():
            if not vm.try_lock():
                raise Failure(f'VM "{name}" is already running!', MISSING)
            others = [each for each in self.home.running(name) if _is_mac(each)]
        full = len(others) >= MOST_MACOS_VMS or any(fault.kind == "limit" for fault in faults)
        if config["os"] == "darwin" and full:
            names = ", ".join(each.name for each in others)
            hint = f" (other running VMs: {names})" if others else ""
            raise Failure(f"The number of VMs exceeds the system limit{hint}")
        return _run(vm, config, shares, faults)

    def exec(self, arguments: Arguments) -> int:
        from tart.client import execute

        name, *command = arguments.positionals
        request = {
            "argv": command,
            "interactive": "-i" in arguments.flags,
            "tty": "-t" in arguments.flags,
        }
        return execute(self._open(name), request, CONNECT_SECS)

    def stop(self, arguments: Arguments) -> int:
        name = arguments.positionals[0]
        timeout = number(arguments, "-t", "--timeout")
        vm = self._open(name)
        pid = vm.runner()
        if not pid:
            raise not_running(name)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + (STOP_SECS if timeout is None else timeout)
        while time.monotonic() < deadline:
            if not (pid := vm.runner()):
                return 0
            time.sleep(POLL_SECS)
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError as error:
            message = f'failed to forcefully terminate the VM "{name}": {error.strerror}'
            raise Failure(message) from error
        return 0

    def delete(self, arguments: Arguments) -> int:
        for name in arguments.positionals:
            if is_remote(name):
                vm = VM(self.home.images / remote_file(name))
                if not vm.path.exists():
                    raise missing(name)
            else:
                vm = VM(self.home.vms / name)
                if not vm.path.joinpath("config.json").exists():
                    raise missing(name)
                if not vm.try_lock():
                    raise Failure(f'VM "{name}" is running')
            vm.remove()
        return 0

    def list(self, arguments: Arguments) -> int:
        source = arguments.option("--source")
        if source not in {None, "local", "oci"}:
            raise wrong(f"'{source}' is not a valid <source>", SYNTAX["list"].usage)
        infos: list[dict[str, Any]] = []
        if source in {None, "local"}:
            infos += [_listed("local", vm.name, vm) for vm in self.home.local()]
        if source in {None, "oci"}:
            infos += [_listed("OCI", remote_name(vm.name), vm) for vm in self.home.pulled()]
        if arguments.flags:
            for info in infos:
                print(info["Name"])  # noqa: T201
        else:
            _show(arguments, infos)
        return 0

    def get(self, arguments: Arguments) -> int:
        vm = self._open(arguments.positionals[0])
        config, listed = vm.config(), vm.info()
        info = {
            "OS": config["os"],
            "CPU": config["cpuCount"],
            "Memory": config["memorySize"] >> 20,
            "Disk": listed["Disk"],
            "DiskFormat": "raw",
            "Size": f"{listed['Size']:.3f}",
            "Display": "1024x768",
            "Running": listed["Running"],
            "State": listed["State"],
        }
        _show(arguments, info)
        return 0

    def order(self, arguments: Arguments) -> int:
        from tart.client import order

        name, what = arguments.positionals
        order(self._open(name), what, CONNECT_SECS)
        return 0

    def _open(self, name: str) -> VM:
        return self.home.open(name)


def main(argv: list[str]) -> int:
    """Do what a command line says; the exit code."""
    if argv[:1] == ["--version"]:
        print(VERSION)  # noqa: T201
        return 0
    root = Path(os.environ.get("TART_HOME") or Path.home() / ".tart")
    root.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGINT, _cancel)
    if "TART_UNTOLD" not in os.environ:
        _tell(root, argv)
    try:
        return _main(root, argv)
    except Failure as failure:
        sys.stdout.flush()
        print(failure, file=sys.stderr)  # noqa: T201
        return failure.code


def _main(root: Path, argv: list[str]) -> int:
    name = argv[0] if argv else "--help"
    if name in NOT_THERE:
        raise Failure(f"the fake has no `tart {name}`", NOT_MADE)
    if name in {"--help", "-h", "help"}:
        print("USAGE: tart <subcommand>")  # noqa: T201
        return 0
    if name not in SYNTAX:
        raise wrong(f"Unexpected argument '{name}'")
    tart = Tart(Home(root), argv)
    commands: dict[str, Callable[[Arguments], int]] = {
        "clone": tart.clone,
        "set": tart.set,
        "run": tart.run,
        "exec": tart.exec,
        "stop": tart.stop,
        "delete": tart.delete,
        "list": tart.list,
        "get": tart.get,
        "fake-order": tart.order,
    }
    arguments = parse(SYNTAX[name], argv[1:])
    if name != "clone":
        tart.home.collect()
    with tart.faults.happening(name, tart.line):
        return commands[name](arguments)


def _run(vm: VM, config: dict[str, Any], shares: Any, faults: Any) -> int:  # noqa: ANN401
    """Be the process that a VM lives as long as."""
    import socket

    from tart.machine import CRASHED, SHUT_DOWN, Machine

    deaf = any(fault.kind == "deaf" for fault in faults)
    pid = stopped = 0

    def stop(_signal: int, _frame: object) -> None:
        nonlocal stopped
        if not deaf:
            stopped = 1
            if pid:
                os.kill(pid, signal.SIGKILL)

    signal.signal(signal.SIGINT, stop)
    os.chdir(vm.path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(CONTROL_SOCKET)  # noqa: PTH108 - the directory may have another name by now
    control = socket.socket(socket.AF_UNIX)
    control.bind(CONTROL_SOCKET)
    os.chmod(CONTROL_SOCKET, 0o600)  # noqa: PTH101 - likewise
    control.listen(64)
    lives = [os.dup(0)] if "TART_LIVES_AS_STDIN" in os.environ else []
    pid = Machine(vm.path, config, shares, control, faults=faults, lives=lives).start()
    if stopped:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if stopped:
        print("Stopping VM...", flush=True)  # noqa: T201
        return 0
    code = os.waitstatus_to_exitcode(status)
    if code == SHUT_DOWN:
        print("guest has stopped the virtual machine", flush=True)  # noqa: T201
        return 0
    if code == CRASHED:
        message = "guest has stopped the virtual machine due to error"
        print(f"{message}: VZErrorDomain Code=1", flush=True)  # noqa: T201
        return 0
    return 1


def _cancel(_signal: int, _frame: object) -> NoReturn:
    raise Failure("Error: CancellationError()")


def _is_mac(vm: VM) -> bool:
    return bool(vm.config()["os"] == "darwin")


def _listed(source: str, name: str, vm: VM) -> dict[str, Any]:
    return {"Source": source, "Name": name, **vm.info()}


def _show(arguments: Arguments, data: Any) -> None:  # noqa: ANN401
    shape = arguments.option("--format")
    if shape != "json":
        raise wrong(f"The value '{shape}' is invalid for '--format <format>'")
    print(json.dumps(data, indent=2, separators=(",", " : ")))  # noqa: T201


def _tell(root: Path, argv: list[str]) -> None:
    """Have the tests know of a call."""
    line = json.dumps({"argv": argv, "pid": os.getpid(), "time": time.time()})
    descriptor = os.open(root / "calls.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)
