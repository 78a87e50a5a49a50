# Lint, types and tests of the Python side, with the tools on PATH.
{
  title = "check-orchestrator";
  description = "Lint, types and tests of the orchestrator";
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
    unit = {
      description = "Tests of engine and frontend";
      command = "pytest -q -p no:cacheprovider --ignore=tests/nix tests";
      timeoutSecs = 3600;
    };
  };
}
