"""Every command line of Nix is built here."""

from __future__ import annotations

import grp
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from jerichoci.errors import InfrastructureError
from jerichoci.machine import process
from jerichoci.nix.own_store import BASE32
from jerichoci.state.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MINIMUM_VERSION = (2, 18)
QUERY_DEADLINE_SECS = 120.0
"""A query of the store's database, on a slow disk that others use too."""
HASH_DEADLINE_SECS = 3600.0
"""For reading all of a store path, which may have many gigabytes."""
DAEMON_ARGV = ("nix-daemon", "--stdio")
"""Serves a host's store on stdin and stdout."""
FILES_ARGV = ("nix", "--version", "--verbose")
"""Prints which files Nix's settings are in."""
NIX_CONFIG_ARGV = ("nix-instantiate", "--eval", "--strict", "--json", "-A", "nixConfig", "-")
"""What reads the settings that a flake.nix at its stdin asks for."""

_FEATURES = ("--extra-experimental-features", "nix-command flakes")
_QUERY = ("nix-store", "--query")
_JSON_LOG = ("--log-format", "internal-json")


@dataclass(frozen=True)
class NixOptions:
    """Nix's own flags that pass through, with Nix's meanings."""

    override_inputs: tuple[tuple[str, str], ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    offline: bool = False
    show_trace: bool = False
    print_logs: bool = False
    store: str | None = None
    """The store that builds in place of this machine's, which gets copies."""

    def eval_argv(self, installable: str, apply: str, *, read_only: bool) -> list[str]:
        """`nix eval --json` of a locked flake's attribute, through the function `apply`."""
        inputs = [part for pair in self.override_inputs for part in ("--override-input", *pair)]
        return [
            *("nix", *_FEATURES, "eval", "--json", *_JSON_LOG, "--no-write-lock-file"),
            # The result is kept in the plan; a cache of it would only cost its writing.
            *("--option", "eval-cache", "false"),
            *(["--read-only"] if read_only else []),
            *(["--show-trace"] if self.show_trace else []),
            *self._shared(),
            *inputs,
            *(installable, "--apply", apply),
        ]

    def build_argv(
        self, installables: Sequence[str], *, auto_jobs: bool, repair: bool = False
    ) -> list[str]:
        """`nix build` of many installables at once, failures not stopping the others."""
        return [
            *("nix", *_FEATURES, "build", "--no-link", "--keep-going", *_JSON_LOG, "-v"),
            *(("--max-jobs", "auto") if auto_jobs else ()),
            *(("--repair",) if repair else ()),
            *(("--store", self.store, "--eval-store", "auto") if self.store else ()),
            *self._shared(),
            *installables,
        ]

    def show_config_argvs(self) -> list[list[str]]:
        """`nix config show`, and what it was called before Nix 2.20."""
        names = (("config", "show"), ("show-config",))
        return [["nix", *_FEATURES, *name, "--json", *self._shared()] for name in names]

    def root_argv(self, paths: Sequence[str], link: str) -> list[str]:
        """`nix build` of store paths that should be there: fails unless all are; roots them."""
        return [
            *("nix", *_FEATURES, "build", "--out-link", link, *self._shared()),
            *("--option", "substitute", "false", *paths),
        ]

    def copy_argv(self, paths: Sequence[str], store: str) -> list[str]:
        """`nix copy` of valid paths and their closure to another store: what it has not yet."""
        return [
            *("nix", *_FEATURES, "copy", "--no-check-sigs", "--to", store, *self._shared()),
            *("--option", "substitute", "false", *paths),
        ]

    def bring_argv(self, paths: Sequence[str], store: str) -> list[str]:
        """`nix copy` of paths of another store, and their closure, to this machine's."""
        return [
            *("nix", *_FEATURES, "copy", "--no-check-sigs", "--from", store, *self._shared()),
            *paths,
        ]

    def invalid_argv(self, paths: Sequence[str], store: str) -> list[str]:
        """`nix-store` that prints those of `paths` that another store has not."""
        argv = ["nix-store", "--store", store, *self._shared()]
        return [*argv, "--check-validity", "--print-invalid", *paths]

    def _shared(self) -> list[str]:
        settings = [part for pair in self.settings for part in ("--option", *pair)]
        return [*settings, *(["--offline"] if self.offline else [])]


def rooted_store(root: str) -> str:
    """The URI of the store whose files lie below `root`, a path without symbolic links."""
    return f"local?root={quote(root)}"


def requisites_argv(paths: Sequence[str], store: str) -> list[str]:
    """`nix-store` that prints the closure of valid paths of a store, a path a line."""
    return ["nix-store", "--store", store, "--query", "--requisites", *paths]


def sign_argv(paths: Sequence[str], key: str) -> list[str]:
    """`nix store sign` of paths and their closure, with the secret key in the file `key`."""
    return ["nix", *_FEATURES, "store", "sign", "--recursive", "--key-file", key, *paths]


def collect_argv(store: str) -> list[str]:
    """`nix store gc` of another store."""
    return ["nix", *_FEATURES, "store", "gc", "--store", store]


async def gather(installables: Sequence[str]) -> str:
    """Instantiate a derivation that needs these and can't be built itself.

    Nix reports the end and the failure of a dependency as soon as it is over; those of what it was
    asked for itself, some versions report only when all builds are over.
    """
    needs = " ".join(
        f'(builtins.appendContext "" {{ "{drv}" = {{ outputs = [ "{output}" ]; }}; }})'
        for drv, _, output in (name.partition("^") for name in installables)
    )
    expression = (
        'derivation { name = "pikaci-prepares"; system = "none"; builder = "none";'
        f" allowSubstitutes = false; needs = [ {needs} ]; }}"
    )
    (drv,) = await _ask("nix-instantiate", "--expr", expression)
    return drv


async def references(path: str) -> list[str]:
    """The store paths that a derivation names."""
    return await _ask(*_QUERY, "--references", path)


async def requisites(drv_path: str) -> frozenset[str]:
    """The store paths that a derivation needs, itself included."""
    return frozenset(await _ask(*_QUERY, "--requisites", drv_path))


async def outputs(*drv_paths: str) -> list[str]:
    """The output paths of derivations."""
    return await _ask(*_QUERY, "--outputs", *drv_paths)


async def is_built_by_nix(drv_path: str) -> bool:
    """Whether a derivation's builder is a part of Nix, such as `builtin:fetchurl`."""
    # Without that variable (structured attributes) it has another builder, as things are.
    argv = (*_QUERY, "--binding", "builder", drv_path)
    done = await process.run(argv, deadline_secs=QUERY_DEADLINE_SECS)
    return done.stdout.startswith(b"builtin:")


async def invalid(paths: Sequence[str]) -> frozenset[str]:
    """Those of `paths` that the store does not vouch for."""
    # `nix path-info --json` shows this too, in a different form with each version of Nix.
    argv = ("nix-store", "--check-validity", "--print-invalid", *paths)
    return frozenset(await _ask(*argv))


async def nar_hashes(paths: Sequence[str]) -> dict[str, str]:
    """The SHA-256 of the archives (NAR) of valid paths, as the store has noted it; hexadecimal."""
    if not paths:
        return {}
    lines = await _ask(*_QUERY, "--hash", *paths)
    return {path: _hexadecimal(line) for path, line in zip(paths, lines, strict=True)}


def _hexadecimal(text: str) -> str:
    """A SHA-256 that Nix spells with its own 32 digits, of which the last has the lowest bits."""
    digits = text.removeprefix("sha256:")
    number = sum(BASE32.index(digit) << 5 * n for n, digit in enumerate(reversed(digits)))
    return number.to_bytes(32, "little").hex()


async def nar_hash(path: str) -> str:
    """The SHA-256 of the archive (NAR) of what is at a path now; hexadecimal."""
    argv = ("nix-hash", "--type", "sha256", path)
    done = await process.run(argv, deadline_secs=HASH_DEADLINE_SECS)
    if not done.ok:
        raise InfrastructureError(f"{path} can't be hashed: {done.reason()}")
    return done.stdout.decode().strip()


async def invalid_in(store: str, paths: Sequence[str], options: NixOptions) -> frozenset[str]:
    """Those of `paths` that another store has not."""
    argv = options.invalid_argv(paths, store)
    done = await process.run(argv, deadline_secs=QUERY_DEADLINE_SECS)
    if not done.ok:
        raise InfrastructureError(f"the Nix store {store} does not answer: {done.reason()}")
    return frozenset(done.stdout.decode().split())


async def _ask(*argv: str) -> list[str]:
    done = await process.run(argv, deadline_secs=QUERY_DEADLINE_SECS)
    if not done.ok:
        raise InfrastructureError(f"the Nix store does not answer: {done.reason()}")
    return done.stdout.decode().split()


@dataclass(frozen=True)
class Store:
    """What the Nix store answers; `reason` is why it doesn't, `advice` what keeps it from work."""

    reason: str | None = None
    advice: str | None = None
    url: str = "daemon"
    trusted: bool | None = None
    """Whether it takes unsigned paths from us, if it says so."""


async def ask_store() -> Store:
    """Ask the store whether it answers; a missing `nix` is a reason."""
    argv = ["nix", *_FEATURES, "store"]
    try:
        done = await process.run([*argv, "info"], deadline_secs=QUERY_DEADLINE_SECS)
        if not done.ok and b"not a recognised command" in done.stderr:
            # Its name before Nix 2.19.
            done = await process.run([*argv, "ping"], deadline_secs=QUERY_DEADLINE_SECS)
    except InfrastructureError as error:
        return Store(error.message)
    text = (done.stdout + done.stderr).decode("utf-8", "replace")
    if not done.ok:
        return Store(done.reason(), advice(text))
    url = re.search(r"^Store URL: (\S+)", text, re.MULTILINE)
    trusted = re.search(r"^Trusted: (\d)", text, re.MULTILINE)
    is_trusted = trusted[1] == "1" if trusted else None
    return Store(None, advice(text), url[1] if url else "daemon", is_trusted)


_NOT_HERE = (
    (
        re.compile(r"\bis required to build '|\bRequired (?:system|features): "),
        (
            "name in nix.conf a machine that has it (`builders`), or what this one has too"
            " (`extra-platforms` or `extra-system-features`)"
        ),
    ),
    (
        re.compile(r"\benable remote builds\b|\blocal builds are disabled\b"),
        "let it build here with `--option max-jobs N`, or name a machine in `builders` of nix.conf",
    ),
)


def advice(said: str) -> str | None:
    """What to do where it is the set-up of this machine that keeps Nix from working for us."""
    for words, hint in _NOT_HERE:
        if words.search(said):
            return hint
    group = re.search(r"the group '([^']+)' specified in 'build-users-group' does not exist", said)
    if group:
        return (
            f"make the group {group[1]} (on Debian `sudo apt-get install nix-setup-systemd` does), "
            "or have `build-users-group =` in nix.conf"
        )
    sockets = Path(os.environ.get("NIX_STATE_DIR", "/nix/var/nix"), "daemon-socket")
    for path, mode in ((sockets, os.X_OK), (sockets / "socket", os.W_OK)):
        with suppress(OSError, KeyError):
            if "ermission denied" in said and path.exists() and not os.access(path, mode):
                name = grp.getgrgid(path.stat().st_gid).gr_name
                join = f"`sudo usermod -aG {name} $USER`, then log in again"
                return f"Nix's daemon is for the group {name}: {join}"
    return None


async def version(env: Mapping[str, str] | None = None) -> str:
    """The version of the `nix` on PATH."""
    try:
        done = await process.run(["nix", "--version"], deadline_secs=QUERY_DEADLINE_SECS, env=env)
    except InfrastructureError:
        raise InfrastructureError(
            "there is no `nix` on PATH", "install Nix 2.18 or later, or use `make run`"
        ) from None
    return done.stdout.decode().split()[-1] if done.ok and done.stdout else "unknown"


def check_version(text: str) -> None:
    """Refuse a Nix that is too old."""
    process.check_version("Nix", text, MINIMUM_VERSION)
