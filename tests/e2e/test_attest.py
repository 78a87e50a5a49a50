"""`pikaci attest`, read by the libraries of in-toto, SLSA and DSSE."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined] # it is in no __all__

from e2e.project import Done, Project
from privilege import only_root_can
from usertree import UserTree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TARGETS = """
  built = {
    prepare.greeting.drv = build "greeting" "mkdir $out; echo hello > $out/greeting";
    prepare.sheet = {
      hostCommand.command = "echo made > sheet";
      hostCommand.outputs = [ "sheet" ];
    };
    jobs.greet = {
      needs = [ "greeting" "sheet" ];
      command = ''cat ${./script}; cp "$PIKACI_INPUT_GREETING/greeting" "$PIKACI_ARTIFACTS/"'';
    };
    jobs.leave.command = "echo left";
  };
  nothing.jobs.one.command = "true";
  broken.jobs.one.command = "false";
"""
Json = dict[str, Any]
Verify = Callable[..., Done]
NIX = ("nix", "--extra-experimental-features", "nix-command flakes")


def printed(*argv: str, stdin: bytes = b"", cwd: Path | None = None) -> str:
    done = subprocess.run(argv, input=stdin, stdout=subprocess.PIPE, check=True, cwd=cwd)
    return done.stdout.decode()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A repository with a run that passed, and a locked input."""
    directory = tmp_path_factory.mktemp("attest")
    project = Project.below(directory)
    project.write("script", "echo from a file\n")
    project.define(TARGETS)
    project.tree.init()
    project.tree.commit()
    other = UserTree(directory / "other")
    other.write("README", "another repository\n")
    other.init()
    other.commit()
    input_ = f'inputs.other = {{ url = "git+file://{other.root}"; flake = false; }};'
    flake = (project.root / "flake.nix").read_text()
    project.write("flake.nix", flake.replace("outputs", f"{input_}\n  outputs", 1))
    printed(*NIX, "flake", "lock", cwd=project.root)
    project.tree.commit()
    project.run("built")
    return project


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """Key pairs of each kind, made by the programs that people make them with."""
    directory = tmp_path_factory.mktemp("keys")
    nix, pem, openssh = (directory / name for name in ("nix", "pem", "openssh"))
    nix.write_text(printed(*NIX, "key", "generate-secret", "--key-name", "ci-1"))
    nix_public = printed(*NIX, "key", "convert-secret-to-public", stdin=nix.read_bytes())
    printed("openssl", "genpkey", "-algorithm", "ed25519", "-out", str(pem))
    pem_public = directory / "pem.pub"
    printed("openssl", "pkey", "-in", str(pem), "-pubout", "-out", str(pem_public))
    printed("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(openssh))
    for path in (nix, pem, openssh):
        path.chmod(0o600)
    return {
        "nix": (nix, nix_public),
        "pem": (pem, str(pem_public)),
        "openssh": (openssh, f"{openssh}.pub"),
    }


@pytest.fixture(scope="module")
def signed(project: Project, keys: dict[str, tuple[Path, str]]) -> Json:
    """The envelope about the run, signed with the key of Nix."""
    envelope: Json = project.here("attest", "--key", str(keys["nix"][0])).passed().json
    return envelope


def statement_in(envelope: Json) -> Json:
    found: Json = json.loads(base64.b64decode(envelope["payload"]))
    return found


@pytest.fixture
def verify(project: Project, keys: dict[str, tuple[Path, str]], tmp_path: Path) -> Verify:
    """Verify an envelope with the public key of Nix."""

    def check(envelope: Json, *args: str, key: str = keys["nix"][1]) -> Done:
        path = tmp_path / "given.json"
        path.write_text(json.dumps(envelope))
        return project.here("attest", "--verify", str(path), "--key", key, *args)

    return check


def test_an_envelope_is_verified_by_securesystemslib(
    signed: Json, keys: dict[str, tuple[Path, str]]
) -> None:
    envelope = Envelope.from_dict(json.loads(json.dumps(signed)))
    raw = base64.b64decode(keys["nix"][1].partition(":")[2])
    (name,) = envelope.signatures
    key = SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(raw), keyid=name)
    assert envelope.verify([key], 1)
    assert envelope.payload_type == "application/vnd.in-toto+json"


def test_a_statement_loses_nothing_in_the_libraries_of_in_toto(signed: Json) -> None:
    values = statement_in(signed)
    statement = Statement([], "", {})
    json_format.ParseDict(values, statement.pb)
    statement.validate()
    assert json_format.MessageToDict(statement.pb) == values
    provenance = json_format.ParseDict(values["predicate"], Provenance())
    assert json_format.MessageToDict(provenance) == values["predicate"]


def test_subjects_are_what_was_built_and_left(project: Project, signed: Json) -> None:
    rows = {row["name"]: row["digest"]["sha256"] for row in statement_in(signed)["subject"]}
    (greeting,) = (name for name in rows if name.endswith("-greeting"))
    archive = subprocess.run(["nix-store", "--dump", greeting], capture_output=True, check=True)
    assert rows.pop(greeting) == hashlib.sha256(archive.stdout).hexdigest()
    assert rows.pop("artifacts/greet/greeting") == hashlib.sha256(b"hello\n").hexdigest()
    (prepared,) = rows
    (made,) = (
        row["path"]
        for row in project.here("prepared-outputs", "latest", "--json").passed().json["outputs"]
        if row["type"] == "host_command"
    )
    archive = subprocess.run(["nix-store", "--dump", made], capture_output=True, check=True)
    assert rows[prepared] == hashlib.sha256(archive.stdout).hexdigest()


def test_dependencies_are_source_inputs_files_and_plan(project: Project, signed: Json) -> None:
    definition = statement_in(signed)["predicate"]["buildDefinition"]
    rows = {row["name"]: row for row in definition["resolvedDependencies"]}
    record = project.record()
    assert rows.pop("source")["digest"] == {
        "gitTree": printed("git", "rev-parse", "HEAD^{tree}", cwd=project.root).strip(),
        "gitCommit": printed("git", "rev-parse", "HEAD", cwd=project.root).strip(),
    }
    assert rows.pop("plan")["digest"] == {"sha256": record["plan_digest"]}
    locked = json.loads((project.root / "flake.lock").read_text())["nodes"]["other"]["locked"]
    other = rows.pop("inputs/other")
    assert other["digest"]["gitCommit"] == locked["rev"]
    nar = base64.b64encode(bytes.fromhex(other["digest"]["sha256"])).decode()
    assert f"sha256-{nar}" == locked["narHash"]
    (script,) = rows
    assert script.endswith("-script")
    parameters = definition["externalParameters"]
    assert parameters["target"] == "built"
    assert parameters["jobs"] == ["greet", "leave"]
    assert parameters["partial"] is False


@pytest.mark.parametrize("kind", ["nix", "pem", "openssh"])
def test_what_one_key_signs_its_public_key_verifies_and_no_other(
    project: Project, keys: dict[str, tuple[Path, str]], tmp_path: Path, kind: str
) -> None:
    secret, public = keys[kind]
    output = tmp_path / "run.intoto.jsonl"
    project.here("attest", "--key", str(secret), "--output", str(output)).passed()
    verified = project.here("attest", "latest", "--verify", str(output), "--key", public).passed()
    assert "changed" not in verified.out
    _, other = keys["pem" if kind == "nix" else "nix"]
    assert "no signature in it" in project.here(
        "attest", "--verify", str(output), "--key", other
    ).refused(1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"payloadType": "text/plain"}, "its payload is of type 'text/plain'"),
        ({"signatures": []}, "no signature in it"),
        ({"signatures": None}, "it is not signed"),
        ({"payload": "!"}, "its payload is not base64"),
        ({"payload": base64.b64encode(b"{}").decode()}, "no signature in it"),
    ],
)
def test_a_changed_envelope_is_refused(
    signed: Json, verify: Verify, changes: Json, said: str
) -> None:
    assert said in verify({**signed, **changes}).refused(1)


def test_a_changed_digest_in_the_statement_is_refused(signed: Json, verify: Verify) -> None:
    statement = statement_in(signed)
    statement["subject"][0]["digest"]["sha256"] = "0" * 64
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    assert "no signature in it" in verify({**signed, "payload": payload}).refused(1)


@contextmanager
def changed(path: Path) -> Iterator[None]:
    """A file has other bytes for a while."""
    before, mode = path.read_bytes(), path.stat().st_mode
    path.chmod(0o600)
    path.write_bytes(before.swapcase())
    try:
        yield
    finally:
        path.write_bytes(before)
        path.chmod(mode)


@pytest.mark.parametrize("what", ["store", "artifact", "prepared", "log", "record"])
def test_what_changed_after_the_run_is_named(
    project: Project, signed: Json, verify: Verify, what: str
) -> None:
    if what == "store":
        only_root_can("write to the store")
    run = project.run_dir()
    (greeting,) = (
        row["path"]
        for row in project.here("prepared-outputs", "latest", "--json").passed().json["outputs"]
        if row["node_id"].startswith("greeting")
    )
    (sheet,) = run.glob("prepared/*/**/sheet")
    path = {
        "store": run / greeting / "greeting",
        "artifact": run / "jobs/greet/attempts/1/artifacts/files/greeting",
        "prepared": sheet,
        "log": run / "jobs/leave/attempts/1/host.log",
        "record": run / "plan.json",
    }[what]
    name = {
        "store": greeting,
        "artifact": "artifacts/greet/greeting",
        "prepared": "prepared/sheet",
        "log": "jobs/leave/attempts/1/host.log",
        "record": "plan.json",
    }[what]
    with changed(path):
        done = verify(signed)
    assert f"{name} changed since it was signed" in done.err
    assert f"changed  {name}" in done.out
    assert done.code == 1
    verify(signed).passed()


def test_what_is_not_here_is_not_compared_unless_its_run_is_named(
    project: Project, signed: Json, verify: Verify
) -> None:
    artifact = project.run_dir() / "jobs/greet/attempts/1/artifacts/files/greeting"
    away = artifact.rename(artifact.with_name("away"))
    done = verify(signed).passed()
    assert "not compared: artifacts/greet/greeting" in done.err
    assert "artifacts/greet/greeting is not here" in verify(signed, "latest").err
    away.rename(artifact)


def test_a_bundle_is_verified_line_by_line(
    project: Project, signed: Json, keys: dict[str, tuple[Path, str]], tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.jsonl"
    bundle.write_text(f"{json.dumps(signed)}\n{json.dumps({**signed, 'payload': ''})}\n")
    done = project.here("attest", "--verify", str(bundle), "--key", keys["nix"][1])
    assert done.code == 1
    assert f"{bundle}, line 2: no signature in it" in done.err


def test_without_a_key_the_statement_itself_is_printed(project: Project, signed: Json) -> None:
    done = project.here("attest").passed()
    assert done.json == statement_in(signed)
    assert "not signed" in done.err


def test_the_builder_has_the_name_that_it_is_given(project: Project) -> None:
    name = "https://ci.example.org/workers/7"
    done = project.here("attest", "--builder-id", name).passed()
    assert done.json["predicate"]["runDetails"]["builder"]["id"] == name


def test_a_partial_run_says_so(project: Project) -> None:
    record = project.run("built", "--job", "greet")
    done = project.here("attest", record["run_id"]).passed()
    parameters = done.json["predicate"]["buildDefinition"]["externalParameters"]
    assert parameters["partial"] is True
    assert parameters["jobs"] == ["greet"]
    assert "is partial: some jobs were not asked for" in done.err


def dependencies_of(done: Done) -> dict[str, Json]:
    definition = done.json["predicate"]["buildDefinition"]
    return {row["name"]: row for row in definition["resolvedDependencies"]}


def test_an_input_that_was_replaced_is_named_in_place_of_the_locked_one(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    reference = f"path:{tmp_path}/mine"
    record = project.run("built", "--override-input", "other", reference)
    rows = dependencies_of(project.here("attest", record["run_id"]).passed())
    assert rows["inputs/other"] == {"name": "inputs/other", "uri": reference}
    project.here("rerun").passed()
    assert dependencies_of(project.here("attest").passed())["inputs/other"]["uri"] == reference


def test_a_commit_from_elsewhere_is_named_by_its_url(project: Project) -> None:
    head = printed("git", "rev-parse", "HEAD", cwd=project.root).strip()
    project.run("built", "--source", f"git+file://{project.root}?rev={head}")
    source = dependencies_of(project.here("attest").passed())["source"]
    assert source["uri"] == f"git+file://{project.root}"
    assert source["digest"]["gitCommit"] == head


def test_a_tree_with_changes_has_no_commit(project: Project) -> None:
    head = printed("git", "rev-parse", "HEAD", cwd=project.root).strip()
    project.write("script", "changed\n")
    project.run("built")
    project.write("script", "echo from a file\n")
    source = dependencies_of(project.here("attest").passed())["source"]
    assert list(source["digest"]) == ["gitTree"]
    assert source["annotations"] == {"pikaci_changedSince": head}


def test_a_batch_has_a_line_for_each_run_that_has_something(
    project: Project, keys: dict[str, tuple[Path, str]], tmp_path: Path
) -> None:
    secret, public = keys["nix"]
    project.here("run", "built", "nothing").passed()
    bundle = tmp_path / "batch.intoto.jsonl"
    done = project.here("attest", "--key", str(secret), "--output", str(bundle)).passed()
    assert "left nothing to attest" in done.err
    (line,) = bundle.read_text().splitlines()
    parameters = statement_in(json.loads(line))["predicate"]["buildDefinition"]
    assert parameters["externalParameters"]["target"] == "built"
    project.here("attest", "latest", "--verify", str(bundle), "--key", public).passed()


def test_what_did_not_pass_or_left_nothing_is_not_attested(
    project: Project, tmp_path: Path
) -> None:
    own = Project.committed(tmp_path, TARGETS.replace("${./script}", "/dev/null"))
    own.here("run", "broken")
    assert "failed: only a run that passed is attested" in own.here("attest").refused()
    own.run("nothing")
    done = own.here("attest")
    assert "there is nothing to attest; have a prepare" in done.err
    assert done.code == 2
    assert (
        "there is no flake.nix"
        in project.at(tmp_path / "home").with_env(PIKACI_STATE_ROOT="").here("attest").refused()
    )


def test_a_secret_key_that_others_can_read_is_refused(
    project: Project, keys: dict[str, tuple[Path, str]]
) -> None:
    secret, _ = keys["nix"]
    secret.chmod(0o640)
    refusal = project.here("attest", "--key", str(secret)).refused()
    secret.chmod(0o600)
    assert f"others may read the secret key {secret}; run `chmod 600 {secret}`" in refusal
