"""Which files a run sees: the working tree as it is when the run starts."""

from __future__ import annotations

import os

from e2e.project import Json, Project, finish, processes, wait_for

LISTS = """
  lists.jobs.it.command = ''
    find . -type f -o -type l | sort
  '';
"""


def look(project: Project) -> tuple[bytes, ...]:
    """What is the user's own."""
    said = (project.tree.git(*args) for args in (("status", "--porcelain"), ("for-each-ref",)))
    return *said, project.path(".git/index").read_bytes()


def test_untracked_and_edited_files_are_in_the_run_and_ignored_ones_are_not(
    project: Project,
) -> None:
    project.define('  cats.jobs.it.command = "ls; cat tracked untracked";')
    project.write("tracked", "committed\n")
    project.write(".gitignore", "ignored\n")
    project.tree.commit()
    project.write("tracked", "edited\n")
    project.write("untracked", "new\n")
    project.write("ignored", "")
    before = look(project)
    record = project.run("cats")
    assert look(project) == before
    lines = project.log("it").splitlines()
    assert {"edited", "new"} <= set(lines)
    assert not {"ignored", "committed"} & set(lines)
    assert record["git_dirty"] is True


def test_an_edit_during_a_run_does_not_reach_it(project: Project) -> None:
    project.define(
        "  late.jobs = {"
        '    a.command = "exec -a @marker@ sleep 1";'
        '    b = { needs = [ "a" ]; command = "cat file; ls"; };'
        "  };"
    )
    project.write("file", "before\n")
    running = project.start("run", "late")
    wait_for(lambda: processes(project.marker))
    project.write("file", "after\n")
    project.write("another")
    assert finish(running).code == 0
    lines = project.log("b").splitlines()
    assert "before" in lines
    assert not {"after", "another"} & set(lines)


def test_a_job_writes_to_its_own_workspace_only(project: Project) -> None:
    project.define(
        "  writes.jobs = {"
        '    a.command = "echo changed > file; echo > made";'
        '    b = { needs = [ "a" ]; command = "cat file; test ! -e made"; };'
        "  };"
    )
    project.write("file", "as it was\n")
    record = project.run("writes")
    assert "as it was" in project.log("b")
    assert (project.root / "file").read_text() == "as it was\n"
    snapshot = project.state / "snapshots" / record["snapshot_id"]
    assert (snapshot / "file").read_text() == "as it was\n"


def test_a_run_works_outside_git_and_before_the_first_commit(bare_project: Project) -> None:
    record = bare_project.run("hello")
    assert (record["git_head"], record["git_dirty"]) == (None, None)
    bare_project.tree.init()
    record = bare_project.run("hello")
    assert (record["git_head"], record["git_dirty"]) == (None, True)


def test_a_run_may_start_anywhere_in_the_tree(project: Project) -> None:
    project.define(LISTS, where="ci/here")
    project.tree.commit()
    project.define(LISTS)
    project.write("deep/er/file")
    for directory in ("deep/er", "ci/here"):
        record = project.at(project.root / directory).run("lists")
        assert record["source_root"] == str(project.root)
        lines = project.log("it").splitlines()
        assert {"./deep/er/file", "./ci/here/flake.nix"} <= set(lines)
    project.here("run", "lists", "--flake", "ci/here").passed()


def test_names_of_any_bytes_do_not_break_a_run(project: Project) -> None:
    project.define(
        "  count.jobs.it.command = \"find odd -type f -print0 | tr -dc '\\\\0' | wc -c\";"
    )
    names = [b"odd/a b", b"odd/a\nb", b"odd/caf\xe9", "odd/é☃".encode(), b"odd/-x", b"odd/'\"$(x)"]
    for name in names:
        project.write(name, "x")
    project.tree.commit()
    project.write(b"odd/dirty\xff\n ", "y")
    project.run("count")
    assert str(len(names) + 1) in project.log("it").splitlines()


def test_a_repository_whose_path_is_odd_works(project: Project) -> None:
    odd = project.root.with_name("a b&c#%'é")
    os.rename(project.root, odd)  # noqa: PTH104 - the point is the name
    state = odd.with_name("st ate,:é%&#")
    project.at(odd).with_env(PIKACI_STATE_ROOT=str(state)).here("run", "hello").passed()


def test_what_the_target_excludes_its_jobs_do_not_see(project: Project) -> None:
    project.define(
        '  lean = { snapshot.exclude = [ "ios/**" ]; jobs.it.command = "ls; test ! -e ios/app"; };'
    )
    project.write("ios/app", "1")

    def snapshot(record: Json) -> str:
        return str(record["snapshot_id"])

    first = snapshot(project.run("lean"))
    project.write("ios/app", "2")
    assert snapshot(project.run("lean")) == first
    project.write("other", "3")
    assert snapshot(project.run("lean")) != first


def test_a_commit_nobody_has_checked_out_runs(project: Project) -> None:
    project.define('  cats.jobs.it.command = "cat file; test ! -e dirty";')
    project.write("file", "then\n")
    then = project.tree.commit()
    project.write("file", "now\n")
    project.tree.commit()
    project.write("dirty")
    source = f"git+file://{project.root}?rev={then}"
    away = project.at(project.root.parent)
    assert away.here("plan", "cats", "--json", "--source", source).passed().json
    away.here("run", "cats", "--source", source).passed()
    record = project.record()
    assert (record["source_rev"], record["git_head"], record["git_dirty"]) == (then, then, False)
    assert "then" in project.log("it")
