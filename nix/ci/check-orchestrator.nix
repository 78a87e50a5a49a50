# Lint, types, architecture and tests of the Python side, with the tools on PATH.
let
  # What tests wait for leaves room to others; those of a file share what is made for it.
  beside = "-n 3 --dist loadfile";
  pytest = "pytest -q -p no:cacheprovider";
  # Tests that take long and show of the libraries what others do.
  long = builtins.concatStringsSep " " (
    map (name: "--ignore-glob='*/test_${name}.py'") [
      "collecting"
      "closing"
      "ending"
      "engine"
      "gueststore"
      "host_process"
      "prepare"
      "realise"
      "tart_*"
      "unprivileged"
    ]
  );
  # Tests with lanes of their own.
  elsewhere = builtins.concatStringsSep " " (
    map (name: "--ignore=tests/${name}") [
      "nix"
      "e2e"
      "incus"
      "ph"
      "pika_git"
      "remote"
      "tart"
    ]
  );
in
{
  title = "check-orchestrator";
  description = "Lint, types, architecture and tests of the orchestrator";
  trigger = "branch";
  preconditions = [ "Chromium" ];
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
      command = import ./pytest.nix {
        options = "${beside} ${elsewhere}";
        paths = "tests";
      };
      timeoutSecs = 3600;
    };
    minimum = {
      description = "Tests with the oldest Python packages that pyproject.toml takes";
      # Of the tests with hosts, only those that depend on asyncssh.
      command = ''
        venv=$(dirname "$(dirname "$(command -v pytest)")")
        python=$venv/minimum/bin/python
        if [ ! -e "$venv/pyvenv.cfg" ] || python3 -c 'import sys; sys.exit(sys.version_info < (3, 14))'; then
          echo "not tried: make env-dev makes the oldest environment, with Python 3.13 or older"
          exit 0
        fi
        "$python" -m ${pytest} --of-libraries tests/pikaci tests/jerichoci ${long} &&
          "$python" -m ${pytest} tests/remote/test_ssh_connection.py -k key
      '';
      timeoutSecs = 1800;
    };
    e2e = {
      description = "Tests of the program as a user runs it";
      command = import ./pytest.nix { options = beside; paths = "tests/e2e"; };
      timeoutSecs = 3600;
    };
  };
}
