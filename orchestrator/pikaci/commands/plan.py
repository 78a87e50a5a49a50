"""`pikaci plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jerichoci.exit_codes import EXIT_PASSED
from pikaci import options
from pikaci.completion import complete_target
from pikaci.event_loop import asyncio
from pikaci.lane_choice import LaneChoice
from pikaci.lanes import Trigger
from pikaci.screen import one_line
from pikaci.sourcing import make_plan

if TYPE_CHECKING:
    from jerichoci.plan.plan import Plan
    from pikaci.location import FlakeOptions
    from pikaci.plan_set import PlanSet


@click.command("plan")
@click.argument("targets", metavar="TARGET...", nargs=-1, shell_complete=complete_target)
@options.json_output
@click.option("--graph", is_flag=True, help="Print a mermaid flowchart.")
@click.option("--build", is_flag=True, help="Build derivations whose output the evaluation reads.")
@click.option(
    "--set",
    "as_set",
    is_flag=True,
    help="Print a plan set, for `pikaci run --plan`; several targets always are one.",
)
@click.option(
    "--lanes",
    "trigger",
    type=click.Choice(["branch", "nightly"]),
    help="Plan the targets of these lanes: branch lanes are those that the change selects.",
)
@click.option(
    "--lane", "lanes", multiple=True, metavar="ID", help="Plan the target of a lane (repeatable)."
)
@click.option(
    "--base",
    metavar="REV",
    help="Start of the change that selects branch lanes.  [default: any file may have changed]",
)
@click.option(
    "--source",
    metavar="URL",
    help="Plan a commit without checking it out: git+https://host/repo?rev=REV.",
)
@options.flake_options
def plan_command(
    targets: tuple[str, ...],
    flake: FlakeOptions,
    source: str | None,
    trigger: str | None,
    lanes: tuple[str, ...],
    base: str | None,
    *,
    as_json: bool,
    graph: bool,
    build: bool,
    as_set: bool,
) -> int | None:
    """Show what a run of TARGET would build and run. Builds nothing and records no run.

    A plan set has the plans of several targets, from one evaluation, and their snapshot.

    \b
    pikaci plan check --json
    pikaci plan unit lint --set >plans.json && pikaci run --plan plans.json unit
    pikaci plan --lanes branch --base origin/main
    """
    by_lanes = bool(trigger or lanes)
    if by_lanes == bool(targets):
        raise click.UsageError("name targets, or lanes with --lanes or --lane")
    if base is not None and (lanes or trigger != "branch"):
        raise click.UsageError("--base is for --lanes branch without --lane")
    if not by_lanes and not as_set and len(targets) == 1:
        planned = asyncio.run(make_plan(targets[0], flake, source, read_only=not build))
        print_plan(planned.plan, as_json=as_json, graph=graph)
        return None
    if graph:
        raise click.UsageError("--graph is for one target")
    # A plan of a set is run without another evaluation: this one makes its derivations.
    read_only = not (as_set or as_json or build)
    choice = LaneChoice(Trigger(trigger or Trigger.BRANCH), lanes, base) if by_lanes else None
    found = asyncio.run(_plan_set(targets, flake, source, choice, read_only=read_only))
    if as_set or as_json:
        options.print_json(found.as_json())
        return None
    return _show(found)


async def _plan_set(
    targets: tuple[str, ...],
    flake: FlakeOptions,
    source: str | None,
    choice: LaneChoice | None,
    *,
    read_only: bool,
) -> PlanSet:
    from jerichoci.state.ids import check_id
    from pikaci.lane_choice import choose_lanes
    from pikaci.plan_set import PlanSet, plan_targets
    from pikaci.sourcing import take_tree

    for target in targets:
        check_id(target, "target")
    taken = await take_tree(flake, source, read_only=read_only)
    if choice is None:
        await taken.lanes()  # Nix's message about an invalid file has neither line nor column
        return PlanSet(await plan_targets(taken, targets))
    report = await choose_lanes(taken, choice)
    chosen = [each.lane.target for each in report.selections if each.selected]
    return PlanSet(await plan_targets(taken, chosen), report)


def _show(found: PlanSet) -> int:
    """Print a set for people; the exit code."""
    from jerichoci.plan.plan import parse_plan

    if found.report:
        click.echo(found.report.as_text())
    code = EXIT_PASSED
    for number, planned in enumerate(found.plans):
        if number or found.report:
            click.echo()
        if planned.error:
            why = f"{planned.target_id}: {planned.error['message']}"
            click.echo(f"pikaci: {one_line(why)}", err=True)
            code = planned.error["exit_code"]
        else:
            print_plan(parse_plan(planned.plan, planned.target_id), as_json=False)
    return code


def print_plan(
    plan: Plan, jobs: frozenset[str] | None = None, *, as_json: bool, graph: bool = False
) -> None:
    """Print a target's plan; of `jobs` and what they need, if they are given."""
    from jerichoci.plan.plan import plan_digest

    # Of all of it, as the record of a run has it.
    digest = plan_digest(plan)
    if jobs:
        asked = plan.closure({node.id for node in plan.jobs if node.job_id in jobs})
        plan = plan.with_(nodes=[node for node in plan.nodes if node.id in asked])
    if as_json:
        options.print_json(plan.dump())
    elif graph:
        click.echo(mermaid(plan))
    else:
        click.echo(as_text(plan, digest))


def as_text(plan: Plan, digest: str) -> str:
    """A plan for people, in the order in which it runs."""
    title = plan.target_description or plan.target_id
    lines = [f"{plan.target_id} on {plan.system}: {title}", f"digest {digest}", ""]
    names = {job.id: job.job_id for job in plan.jobs}
    names |= {node.id: node.name for node in plan.prepares}
    for node in plan.prepares:
        spec = node.prepare
        what = spec.out_path if spec.type == "nix_build" else f"$ {_first_line(spec.command)}"
        lines.append(f"prepare {node.name}  [{node.placement}, {spec.timeout_secs} s]  {what}")
    for job in plan.jobs:
        where = f"{job.placement}, {job.runtime}, {job.execute.timeout_secs} s"
        lines.append(f"job     {job.job_id}  [{where}]  $ {_first_line(job.execute.command)}")
        if job.depends_on:
            needs = ", ".join(names[needed] for needed in job.depends_on)
            lines.append(f"        needs {needs}")
    return "\n".join(map(one_line, lines))


def mermaid(plan: Plan) -> str:
    """A plan as a flowchart: prepares are rounded boxes, an arrow leads to what needs them."""
    names = {node.id: f"n{index}" for index, node in enumerate(plan.nodes)}
    lines = ["flowchart LR"]
    lines += [f'  {names[node.id]}(["{node.name}"])' for node in plan.prepares]
    lines += [
        f'  {names[job.id]}["{job.job_id}<br/>{job.placement}, {job.runtime}"]' for job in plan.jobs
    ]
    needs = [(needed, node.id) for node in plan.nodes for needed in node.depends_on]
    lines += [f"  {names[needed]} --> {names[node]}" for needed, node in needs]
    return "\n".join(lines)


def _first_line(command: str) -> str:
    lines = command.strip().splitlines() or [""]
    return lines[0] + (" ..." if len(lines) > 1 else "")
