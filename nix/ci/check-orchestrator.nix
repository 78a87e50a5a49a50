# Lint, types, architecture and tests of the Python side, with the tools on PATH.
let
  pytest = "pytest -q -p no:cacheprovider";
in
{
  title = "check-orchestrator";
  description = "Lint, types, architecture and tests of the orchestrator";
  trigger = "branch";
  jobs = {
    lint = {
      description = "ruff: lint and format";
      command = "ruff check . && ruff format --check .";
      timeoutSecs = 300;
    };
    types = {
      description = "mypy, strict";
      command = "mypy";
      timeoutSecs = 900;
    };
    invariants = {
      description = "The rules of the architecture";
      command = "python3 invariants/check.py";
      timeoutSecs = 300;
    };
    unit = {
      description = "Tests of engine, frontend and guest runner";
      command = ''
        ${pytest} --ignore=tests/nix --ignore=tests/e2e --ignore=tests/incus --ignore=tests/remote --ignore=tests/tart tests
      '';
      timeoutSecs = 3600;
    };
    e2e = {
      description = "Tests of the program as a user runs it";
      command = "${pytest} tests/e2e";
      timeoutSecs = 3600;
    };
  };
}
