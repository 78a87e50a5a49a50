"""`pikaci attest`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jerichoci.errors import UsageError
from jerichoci.exit_codes import EXIT_PASSED
from pikaci import options
from pikaci.completion import complete_run
from pikaci.screen import as_utf8, table

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from jerichoci.record.store import RunStore

LATEST = "latest"


@click.command("attest")
@click.argument("run", metavar="[RUN]", required=False, shell_complete=complete_run)
@click.option("--key", metavar="KEY", help="File of the secret key; with --verify, a public key.")
@click.option("--output", metavar="FILE", help="Write to FILE.  [default: stdout]")
@click.option(
    "--builder-id",
    metavar="URI",
    help="Who ran it, for readers.  [default: this state root's UUID]",
)
@click.option("--verify", "file", metavar="FILE", help="Check FILE, and what is here against it.")
@options.flake
@options.state_root
def attest_command(
    run: str | None,
    key: str | None,
    output: str | None,
    builder_id: str | None,
    file: str | None,
    flake: str | None,
    state_root: str | None,
) -> int:
    """Say in a signed statement what RUN built, and from what; or check such a statement.

    RUN is the id of a run or a batch, a unique prefix of one, or `latest`; it has passed. The
    statement is of in-toto, with provenance of SLSA, in an envelope (DSSE), a line for each run.

    \b
    nix key generate-secret --key-name ci >ci.key && chmod 600 ci.key
    pikaci attest latest --key ci.key >run.intoto.jsonl
    pikaci attest --verify run.intoto.jsonl --key "$(nix key convert-secret-to-public <ci.key)"

    \b
    Exit codes: 0 attested, or as it was signed; 1 changed, or not signed by that key.
    """
    from pikaci.location import open_store

    if file is None:
        store = open_store(state_root, flake)
        return _attest(store, store.resolve_many(run or LATEST), key, output, builder_id)
    if key is None:
        raise click.UsageError("--verify needs the public key: --key")
    if output or builder_id:
        raise click.UsageError("--verify writes nothing: it takes no --output and no --builder-id")
    try:
        found = open_store(state_root, flake)
    except UsageError:
        if run or flake or state_root:
            raise
        found = None
    return _verify(Path(file), key, found, found.resolve_many(run) if found and run else [])


def _attest(
    store: RunStore, runs: list[str], key: str | None, output: str | None, builder: str | None
) -> int:
    from pikaci.attest.envelope import sign
    from pikaci.attest.keys import read_secret_key
    from pikaci.attest.statement import passed_run, statement_of

    secret = read_secret_key(Path(key)) if key else None
    found = [(run, passed_run(store, run)) for run in runs]
    lines = []
    for run, evidence in found:
        if evidence is None:
            _say(f"run {run} was skipped, and is not attested")
            continue
        statement, left_out = asyncio.run(statement_of(evidence, builder))
        if statement is None:
            _say(f"run {run} left nothing to attest")
            continue
        for what in left_out:
            _say(f"the statement about {run} leaves out {what}")
        if evidence.record.partial:
            _say(f"run {run} is partial: some jobs were not asked for")
        lines.append(_line(sign(_line(statement), secret) if secret else statement))
    if not lines:
        raise UsageError(
            "there is nothing to attest",
            "have a prepare, or let a job leave a file in $PIKACI_ARTIFACTS",
        )
    if secret is None:
        _say("not signed: give a --key")
    _write(b"".join(line + b"\n" for line in lines), output)
    return EXIT_PASSED


def _say(what: str) -> None:
    click.echo(f"pikaci: {what}", err=True)


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode()


def _write(lines: bytes, output: str | None) -> None:
    if output is None:
        click.echo(lines, nl=False)
        return
    try:
        Path(output).write_bytes(lines)
    except OSError as error:
        raise UsageError(f"{output} can't be written: {error.strerror}") from None


def _verify(file: Path, key: str, store: RunStore | None, runs: list[str]) -> int:
    from jerichoci.state.reading import read_file
    from pikaci.attest.envelope import NotVerifiedError
    from pikaci.attest.keys import read_public_key

    public = read_public_key(key)
    try:
        lines = read_file(file).splitlines()
    except OSError as error:
        raise UsageError(f"{file} can't be read: {error.strerror}") from None
    if not lines:
        raise NotVerifiedError(f"{file} is empty")
    for number, line in enumerate(lines, 1):
        where = str(file) if len(lines) == 1 else f"{file}, line {number}"
        try:
            _verify_line(line, public, store, runs)
        except NotVerifiedError as error:
            raise NotVerifiedError(f"{where}: {error.message}", error.hint) from None
    return EXIT_PASSED


def _verify_line(
    line: bytes, key: Ed25519PublicKey, store: RunStore | None, runs: list[str]
) -> None:
    from pikaci.attest.check import compare, run_of, verified_statement
    from pikaci.attest.envelope import NotVerifiedError
    from pikaci.attest.keys import key_id

    statement = verified_statement(line, key)
    named = run_of(statement) or ""
    if runs and named not in runs:
        raise NotVerifiedError(f"it is about run {named}, not {' or '.join(runs)}")
    is_here = store is not None and named in store.run_ids()
    checked = asyncio.run(compare(statement, store if is_here else None))
    click.echo(f"run {as_utf8(named)}, signed by {key_id(key)}")
    click.echo(table(("RESULT", "NAME"), [(row.result, row.name) for row in checked]))
    changed = [row.name for row in checked if row.result == "changed"]
    absent = [row.name for row in checked if row.result == "absent"]
    if changed:
        raise NotVerifiedError(f"{_and_more(changed)} changed since it was signed")
    if absent and runs:
        raise NotVerifiedError(f"{_and_more(absent)} is not here")
    if absent:
        _say(f"not on this machine, so not compared: {_and_more(absent)}")


def _and_more(names: list[str]) -> str:
    rest = len(names) - 1
    return names[0] + (f" and {rest} more" if rest else "")
