from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from jerichoci.nix.payload_files import MANIFEST, MANIFEST_LIMIT_BYTES, PayloadError
from jerichoci.plan.payload import GUEST_CLOSED, GUEST_KEPT
from jerichoci.status import FailureKind
from nix.evaluation import ROOT, evaluate
from plans import commanded, job, read_payload

if TYPE_CHECKING:
    from pathlib import Path

    from runner import Runner

MOUNT = {
    "name": "workspace-build",
    "relative_path": ".",
    "guest_path": "/staged/linux-rust/workspace-build",
    "read_only": True,
}
GOOD: dict[str, Any] = {
    "schema_version": 1,
    "kind": "linux-rust-workspace-build",
    "entrypoints": ["bin/run-tests"],
    "asset_roots": ["libexec/tests"],
    "mounts": [MOUNT],
}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output that has what GOOD names, but for the manifest."""
    out = tmp_path / "store/output"
    for name in ("bin", "libexec/tests", "share/pikaci"):
        (out / name).mkdir(parents=True)
    (out / "bin/run-tests").write_text("#!/bin/sh\n")
    (out / "bin/run-tests").chmod(0o555)
    return out


def write(output: Path, values: object) -> None:
    (output / MANIFEST).write_text(json.dumps(values))


def refusal(output: Path, values: object) -> str:
    write(output, values)
    with pytest.raises(PayloadError) as caught:
        read_payload(output)
    assert "\n" not in caught.value.message
    return caught.value.message.removeprefix(f"{MANIFEST} ")


def with_mount(**changes: object) -> dict[str, Any]:
    return {**GOOD, "mounts": [{**MOUNT, **changes}]}


def test_a_manifest_is_read_where_there_is_one(tmp_path: Path, output: Path) -> None:
    assert read_payload(output) is None
    write(output, {**GOOD, "more": 1, "mounts": [{**MOUNT, "more": 1}]})
    manifest = read_payload(output)
    assert manifest
    assert manifest.model_dump() == GOOD
    (tmp_path / "result").symlink_to(output)
    assert read_payload(tmp_path / "result")
    (tmp_path / "file").write_text("an output may be a file")
    assert read_payload(tmp_path / "file") is None
    assert read_payload(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {**GOOD, "schema_version": 2, "mounts": "other"},
            "has payload schema 2; this pikaci knows 1",
        ),
        ([], "is wrong: Input should be a valid dictionary or instance of PayloadManifest"),
        ({"kind": "x"}, "is wrong: schema_version: Field required"),
        ({**GOOD, "kind": "a b"}, "is wrong: kind: String should match pattern"),
        ({**GOOD, "entrypoints": "bin/x"}, "is wrong: entrypoints: Input should be a valid list"),
        (with_mount(read_only=False), "is wrong: mounts.0.read_only: prepared outputs are shown"),
        ({**GOOD, "mounts": [MOUNT, MOUNT]}, "is wrong: two mounts have one name"),
        (
            {**GOOD, "entrypoints": ["bin/run-gone"]},
            "names the entrypoint 'bin/run-gone', which can't be found (No such file or directory)",
        ),
        *(
            (
                with_mount(guest_path=path),
                f"is wrong: mounts.0.guest_path: {path!r} covers what a guest needs",
            )
            for path in ("/nix/store", "/workspace/snapshot/x", "/etc", "/home", "/root")
        ),
    ],
)
def test_a_wrong_value_is_refused_by_its_place(output: Path, values: object, sentence: str) -> None:
    assert refusal(output, values).startswith(sentence)


@pytest.mark.parametrize(
    "path", ["../x", "/etc/passwd", "a/../../b", "a//b", "./bin", "bin/", "", "a\0b", ".."]
)
@pytest.mark.parametrize("field", ["entrypoints", "asset_roots", "relative_path"])
def test_a_path_that_may_leave_the_output_is_refused(output: Path, field: str, path: str) -> None:
    values = with_mount(relative_path=path) if field == "relative_path" else {**GOOD, field: [path]}
    assert refusal(output, values).endswith(f"{path!r} is not a plain path inside the output")


def test_a_guest_path_that_is_not_normal_is_refused(output: Path) -> None:
    relative = ["staged/x", "/staged/../x", "/staged//x", ""]
    for path in (*relative, "/staged/", "/", "/staged/a b", "/staged/x\n"):
        sentence = refusal(output, with_mount(guest_path=path))
        assert "is not an absolute path of plain names" in sentence, path


def test_guest_paths_below_one_another_are_refused(output: Path) -> None:
    lower = {**MOUNT, "name": "lower", "guest_path": f"{MOUNT['guest_path']}/x"}
    beside = {**MOUNT, "name": "beside", "guest_path": f"{MOUNT['guest_path']}-x"}
    write(output, {**GOOD, "mounts": [MOUNT, beside]})
    assert read_payload(output)
    assert "guest paths are not apart" in refusal(
        output, {**GOOD, "mounts": [lower, beside, MOUNT]}
    )


def test_what_is_of_another_kind_than_a_manifest_names_is_refused(output: Path) -> None:
    os.mkfifo(output / "pipe")
    sentence = refusal(output, {**GOOD, "asset_roots": ["pipe"]})
    assert sentence.endswith("'pipe', which is not a file or a directory")
    (output / "bin/run-tests").chmod(0o444)
    assert refusal(output, GOOD).endswith("'bin/run-tests', which is not a program")
    (output / "bin/run-tests").unlink()
    (output / "bin/run-tests").mkdir()
    assert refusal(output, GOOD).endswith("'bin/run-tests', which is not a program")


def test_a_link_may_lead_about_the_output_but_not_out_of_it(tmp_path: Path, output: Path) -> None:
    (output / "bin/run-link").symlink_to("../bin/run-tests")
    write(output, {**GOOD, "entrypoints": ["bin/run-link"]})
    assert read_payload(output)
    (tmp_path / "store/output-2").mkdir()
    (output / "out").symlink_to("../output-2")
    sentence = refusal(output, with_mount(relative_path="out"))
    assert sentence.startswith("names the mount 'out', which leads out of the output, to ")
    (output / "loop").symlink_to("loop")
    assert "'loop', which can't be found" in refusal(output, {**GOOD, "asset_roots": ["loop"]})


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"\xff\xfe", b"[" * 100_000),
        *(b'{"kind": "\\ud800"}', b'{"\\udfff": 1}', b'{"entrypoints": ["\xed\xa0\x80"]}'),
    ],
)
def test_what_is_not_json_is_refused(output: Path, content: bytes) -> None:
    (output / MANIFEST).write_bytes(content)
    with pytest.raises(PayloadError, match="is not JSON"):
        read_payload(output)


def test_a_manifest_that_is_no_file_or_too_large_is_refused(tmp_path: Path, output: Path) -> None:
    manifest = output / MANIFEST
    (tmp_path / "manifest").write_text(json.dumps(GOOD))
    for make, sentence in (
        (lambda: manifest.write_bytes(b" " * (MANIFEST_LIMIT_BYTES + 1)), "is longer than"),
        (lambda: os.mkfifo(manifest), "is not a file"),
        (lambda: manifest.symlink_to(tmp_path / "manifest"), "leads out of the output"),
        (lambda: manifest.symlink_to("gone"), "can't be found"),
    ):
        manifest.unlink(missing_ok=True)
        make()
        with pytest.raises(PayloadError, match=sentence):
            read_payload(output)


def test_the_catalog_library_keeps_the_same_paths_clear() -> None:
    guest = evaluate(f"{{ inherit (import {ROOT}/nix/lib/guest.nix) closed kept; }}")
    assert guest == {"closed": list(GUEST_CLOSED), "kept": list(GUEST_KEPT)}


def manifest_command(values: object) -> str:
    return f"mkdir -p out/share/pikaci; echo '{json.dumps(values)}' > out/{MANIFEST}"


USE = job("use", "ls -d $PIKACI_INPUT_DEP/out", needs=["dep"])


async def test_a_prepare_whose_manifest_is_wrong_is_a_test_failure(runner: Runner) -> None:
    values = {"schema_version": 1, "kind": "x", "entrypoints": ["bin/run-gone"]}
    run = await runner.run(commanded("dep", manifest_command(values), ["out"]), USE)
    assert run.said("use")
    build = f"mkdir -p share; {manifest_command(values)}; mv out/share/pikaci share/"
    run = await runner.run(commanded("dep", build, ["share"]), USE)
    assert run.record.failure_kind is FailureKind.TEST_FAILURE
    cause = run.job("use").cause
    assert cause
    assert (str(cause.code), cause.phase) == ("payload_invalid", "prepare")
    assert cause.message.startswith(
        f"prepare dep: {MANIFEST} names the entrypoint 'bin/run-gone', which can't be found"
    )
