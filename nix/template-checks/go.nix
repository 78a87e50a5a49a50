# What runs on every change. `pikaci plan check --graph` shows the plan.
{ pkgs, ... }:
{
  title = "check";
  description = "Checks the code and runs the tests";
  trigger = "branch"; # needs a lane in forge-lanes.toml

  prepare.go.drv = pkgs.go;

  jobs = {
    vet = {
      needs = [ "go" ];
      command = ''"$PIKACI_INPUT_GO/bin/go" vet ./...'';
      timeoutSecs = 600;
    };
    test = {
      needs = [ "go" ];
      command = ''"$PIKACI_INPUT_GO/bin/go" test ./...'';
      timeoutSecs = 600;
    };
  };
}
