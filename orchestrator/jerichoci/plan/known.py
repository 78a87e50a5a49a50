"""Plans that were read before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jerichoci.plan.once import read_once
from jerichoci.plan.plan import Plan, parse_plan

if TYPE_CHECKING:
    from pathlib import Path


def read_plan(values: object, origin: str, answers: Path) -> Plan:
    """As `parse_plan`, once for the same values and the same code.

    Raises:
        RecordError: the plan is of a later schema.
        CatalogError: it isn't a plan.
    """
    return read_once("plan", values, lambda values: parse_plan(values, origin), answers)
