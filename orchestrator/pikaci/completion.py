"""What a TAB completes: runs, jobs, targets, roles, hosts. Where there is an error, nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import click
    from click.shell_completion import CompletionItem

    from jerichoci.record.store import RunStore

    Rows = Iterable[tuple[str, str | None]]
    Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completing(find: Callable[[click.Context], Rows]) -> Complete:
    """Completes by the names, with help, that `find` returns."""

    def complete(
        context: click.Context, _param: click.Parameter, text: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        from jerichoci.errors import PikaciError

        try:
            rows = list(find(context))
        except PikaciError:
            return []
        return [CompletionItem(name, help=help_) for name, help_ in rows if name.startswith(text)]

    return complete


def _store(context: click.Context) -> RunStore:
    from pikaci.location import open_store

    return open_store(context.params.get("state_root"), context.params.get("flake"))


def _catalog(context: click.Context) -> Mapping[str, Any]:
    import asyncio

    from jerichoci.nix.command import NixOptions
    from pikaci.location import FlakeOptions
    from pikaci.sourcing import load_catalog

    given = context.params.get
    flake = FlakeOptions(given("flake"), None, given("state_root"), NixOptions())
    return asyncio.run(load_catalog(flake))


def _runs(context: click.Context) -> Rows:
    runs = _store(context).list_runs(limit=20)
    rows = [("latest", "what was started last")] if runs else []
    for run in runs:
        if run.batch and all(name != run.batch for name, _ in rows):
            rows.append((run.batch, f"the batch of {run.target_id}"))
        rows.append((run.run_id, f"{run.target_id} {run.status}"))
    return rows


def _jobs(context: click.Context) -> Rows:
    from jerichoci.record.store import LATEST

    # click reads no arguments from a line that ends in `--job`.
    given = next(iter(context.args), None)
    if any(param.name == "targets" for param in context.command.params):
        target = next(iter(context.params.get("targets") or ()), given)
        rows = [row["jobs"] for row in _catalog(context)["targets"] if row["id"] == target]
        return [(name, None) for row in rows for name in row]
    store = _store(context)
    run_id = store.resolve(given or context.params.get("run") or LATEST)
    return [(job.id, None) for job in store.summary(run_id).jobs]


def _hosts(_context: click.Context) -> Rows:
    from jerichoci.plan.hosts import load_hosts
    from jerichoci.state.natural import natural

    return [(name, None) for name in sorted(load_hosts().hosts, key=natural)]


complete_run = _completing(_runs)
complete_job = _completing(_jobs)
complete_run_or_job = _completing(lambda context: [*_runs(context), *_jobs(context)])
complete_target = _completing(
    lambda context: [(row["id"], row.get("title")) for row in _catalog(context)["targets"]]
)
complete_role = _completing(
    lambda context: [(row["role"], row["alias"]) for row in _catalog(context)["images"]]
)
complete_host = _completing(_hosts)
