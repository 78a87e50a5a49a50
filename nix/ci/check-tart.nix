# Jobs in macOS VMs, with a fake Tart of the tests: its VMs are namespaces of this machine.
{
  title = "check-tart";
  description = "Tests of Tart jobs with a fake Tart";
  trigger = "branch";
  preconditions = [ "root" ];
  jobs.tart = {
    description = "Tests with VMs that are namespaces of this machine";
    command = import ./pytest.nix { options = "-n 4"; paths = "tests/tart"; };
    timeoutSecs = 3600;
  };
}
