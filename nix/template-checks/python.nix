# What runs on every change. `pikaci plan check --graph` shows the plan.
{ pkgs, ... }:
{
  title = "check";
  description = "Runs the tests";
  trigger = "branch"; # needs a lane in forge-lanes.toml

  # Python with the packages that the project and its tests import, by nixpkgs' names.
  prepare.python.drv = pkgs.python3.withPackages (packages: [
    packages.pytest
  ]);

  jobs.test = {
    needs = [ "python" ];
    env.PYTHONPATH = "src";
    # pytest exits with 5 if there are no tests.
    command = ''
      "$PIKACI_INPUT_PYTHON/bin/python" -m pytest --junit-xml="$PIKACI_ARTIFACTS/tests.xml" || [ $? = 5 ]
    '';
    timeoutSecs = 600;
  };
}
