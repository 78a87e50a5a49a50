"""A plan as a mermaid flowchart."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jerichoci.plan.plan import Plan


def mermaid(plan: Plan) -> str:
    """Prepares as rounded boxes, jobs as boxes, an arrow to whatever needs it."""
    names = {node.id: f"n{index}" for index, node in enumerate(plan.nodes)}
    lines = ["flowchart LR"]
    lines += [f'  {names[node.id]}(["{node.id}"])' for node in plan.prepares]
    lines += [
        f'  {names[job.id]}["{job.job_id}<br/>{job.placement}, {job.runtime}"]' for job in plan.jobs
    ]
    lines += [
        f"  {names[needed]} --> {names[node.id]}"
        for node in plan.nodes
        for needed in node.depends_on
    ]
    return "\n".join(lines)
