from __future__ import annotations

import json
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jerichoci.errors import RecordError
from jerichoci.plan.model import Id, Model, RunId, Timestamp
from jerichoci.plan.rule import REQUIRED
from jerichoci.record.event import parse_event
from jerichoci.record.record import AttemptRecord, JobRecord, PreparedOutputs, RunRecord, Tool
from jerichoci.record.store import load_model
from jerichoci.state.ids import ID_PATTERN, RUN_ID_PATTERN
from jerichoci.status import Status

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]
MODELS = (RunRecord, JobRecord, PreparedOutputs)
TEXTS = st.text(max_size=5)
VALUES: list[tuple[object, st.SearchStrategy[Any]]] = [
    (Id, st.from_regex(ID_PATTERN, fullmatch=True).map(lambda text: text[:9])),
    (RunId, st.from_regex(RUN_ID_PATTERN, fullmatch=True)),
    (Timestamp, st.just("2026-01-31T23:59:59.000Z")),
    (str, TEXTS),
    (int, st.integers(1, 2**60)),
    (bool, st.booleans()),
    (NoneType, st.none()),
    (dict[str, str], st.dictionaries(TEXTS, TEXTS, max_size=2)),
    (dict[str, str | None], st.dictionaries(TEXTS, TEXTS | st.none(), max_size=2)),
    (Json, st.dictionaries(TEXTS, TEXTS | st.integers() | st.none(), max_size=2)),
]


def values_of(kind: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401 - a type
    """Values of the type of a field."""
    for known, values in VALUES:
        if kind == known:
            return values
    inner = get_args(kind)
    if get_origin(kind) is list:
        return st.lists(values_of(inner[0]), max_size=2)
    if inner:
        return st.one_of([values_of(each) for each in inner])
    return records_of(kind) if issubclass(kind, Model) else st.sampled_from(kind)


def records_of(model: type[Model]) -> st.SearchStrategy[Model]:
    """Records that may have all fields of a model."""
    kinds = get_type_hints(model, include_extras=True)
    optional = {name for name, value in model.model_fields.items() if value is not REQUIRED}
    needed = {name: values_of(kinds[name]) for name in model.model_fields if name not in optional}
    rest = {name: values_of(kinds[name]) for name in model.model_fields if name in optional}
    return st.fixed_dictionaries(needed, optional=rest).map(lambda values: model(**values))


RECORDS = st.one_of([records_of(model) for model in MODELS])
quickly = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)


def with_unknown(value: Any) -> Any:  # noqa: ANN401 - JSON
    """The same JSON with a field more in every object that is a record."""
    match value:
        case dict():
            free = {"execution", "annotations", "overrides", "pass_env"}
            kept = {key: row for key, row in value.items() if key in free}
            later = {key: with_unknown(row) for key, row in value.items() if key not in kept}
            return {**later, **kept, "from_a_later_version": [1]}
        case list():
            return [with_unknown(row) for row in value]
        case _:
            return value


def optional_fields(model: type[Model]) -> list[str]:
    return [name for name, value in model.model_fields.items() if value is not REQUIRED]


@pytest.fixture
def values() -> Json:
    job = JobRecord(
        id="greet",
        status=Status.PASSED,
        placement="local",
        runtime="host_process",
        plan_node_id="execute-greet",
        timeout_secs=1,
    )
    run = RunRecord(
        run_id="20260131T235959Z-0123abcd",
        status=Status.PASSED,
        target_id="hello",
        system="x86_64-linux",
        created_at="2026-01-31T23:59:59.000Z",
        plan_digest="0",
        tool=Tool(version="1"),
        jobs=[job],
    )
    return run.model_dump()


@quickly
@given(RECORDS)
def test_a_record_survives_the_way_through_json_with_fields_that_are_unknown(
    record: Model,
) -> None:
    assert type(record).model_validate_json(record.model_dump_json()) == record
    text = json.dumps(with_unknown(record.model_dump()))
    assert type(record).model_validate_json(text) == record


@quickly
@given(RECORDS, st.data())
def test_a_field_that_may_be_missing_counts_as_its_default(
    record: Model, data: st.DataObject
) -> None:
    model = type(record)
    gone = data.draw(st.sets(st.sampled_from(optional_fields(model))))
    values = {key: row for key, row in record.model_dump().items() if key not in gone}
    found = model.model_validate(values)
    for name in gone:
        assert getattr(found, name) == model.model_fields[name]


@pytest.mark.parametrize("model", MODELS)
def test_every_record_has_a_schema_version(model: type[Model]) -> None:
    assert model.model_fields["schema_version"] == 1


def test_a_damaged_field_that_may_be_missing_degrades_alone_and_is_named(
    values: Json, tmp_path: Path
) -> None:
    values["jobs"][0]["attempt"] = "many"
    values["git_dirty"] = "perhaps"
    run = load_model(RunRecord, values, tmp_path)
    assert (run.jobs, run.git_dirty, run.target_id) == ([], None, "hello")
    assert run.problems == ["git_dirty is damaged and left out", "jobs is damaged and left out"]
    damaged = {"run_id": "20260131T235959Z-0123abcd", "outputs": [{"node_id": 1}]}
    outputs = load_model(PreparedOutputs, damaged, tmp_path)
    assert (outputs.outputs, outputs.problems) == ([], ["outputs is damaged and left out"])
    with pytest.raises(RecordError, match=r"is not a record: target_id: "):
        load_model(RunRecord, {**values, "target_id": 7}, tmp_path)


def test_the_record_of_an_attempt_replaces_what_was_known_of_it(values: Json) -> None:
    job = JobRecord.model_validate(values["jobs"][0])
    begun = AttemptRecord(
        number=1, status=Status.RUNNING, host_log_path="h", guest_log_path="g", started_at="t"
    )
    ended = begun.with_(status=Status.FAILED, exit_code=3)
    assert job.after(begun).after(ended).attempts == [ended]
    assert job.after(begun).after(ended).exit_code == 3


def test_an_event_of_an_unknown_phase_of_a_run_is_refused() -> None:
    with pytest.raises(ValueError, match="event"):
        parse_event({"event": "later"})
