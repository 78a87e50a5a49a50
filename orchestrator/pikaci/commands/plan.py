"""`pikaci plan`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from pikaci import options
from pikaci.screen import one_line
from pikaci.sourcing import make_plan

if TYPE_CHECKING:
    from jerichoci.plan.plan import Plan
    from pikaci.location import FlakeOptions


@click.command("plan")
@options.target_argument
@options.json_output
@click.option("--graph", is_flag=True, help="Print a mermaid flowchart.")
@click.option("--build", is_flag=True, help="Build derivations whose output the evaluation reads.")
@click.option(
    "--source",
    metavar="URL",
    help="Plan a commit without checking it out: git+https://host/repo?rev=REV.",
)
@options.flake_options
def plan_command(
    target: str, flake: FlakeOptions, source: str | None, *, as_json: bool, graph: bool, build: bool
) -> None:
    """Show what a run of TARGET would build and run. Builds nothing and records no run."""
    planned = asyncio.run(make_plan(target, flake, source, read_only=not build))
    print_plan(planned.plan, as_json=as_json, graph=graph)


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
    for node in plan.prepares:
        spec = node.prepare
        what = spec.out_path if spec.type == "nix_build" else f"$ {_first_line(spec.command)}"
        lines.append(f"prepare {node.id}  [{node.placement}, {spec.timeout_secs} s]  {what}")
    for job in plan.jobs:
        where = f"{job.placement}, {job.runtime}, {job.execute.timeout_secs} s"
        lines.append(f"job     {job.job_id}  [{where}]  $ {_first_line(job.execute.command)}")
        if job.depends_on:
            names = {other.id: other.job_id for other in plan.jobs}
            needs = ", ".join(names.get(needed, needed) for needed in job.depends_on)
            lines.append(f"        needs {needs}")
    return "\n".join(map(one_line, lines))


def mermaid(plan: Plan) -> str:
    """A plan as a flowchart: prepares are rounded boxes, an arrow leads to what needs them."""
    names = {node.id: f"n{index}" for index, node in enumerate(plan.nodes)}
    lines = ["flowchart LR"]
    lines += [f'  {names[node.id]}(["{node.id}"])' for node in plan.prepares]
    lines += [
        f'  {names[job.id]}["{job.job_id}<br/>{job.placement}, {job.runtime}"]' for job in plan.jobs
    ]
    needs = [(needed, node.id) for node in plan.nodes for needed in node.depends_on]
    lines += [f"  {names[needed]} --> {names[node]}" for needed, node in needs]
    return "\n".join(lines)


def _first_line(command: str) -> str:
    lines = command.strip().splitlines() or [""]
    return lines[0] + (" ..." if len(lines) > 1 else "")
