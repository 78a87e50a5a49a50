# Jobs in Incus guests, with a real Incus that the tests start.
{
  title = "check-incus";
  description = "Tests of Incus guests with a real Incus";
  trigger = "branch";
  preconditions = [ "Incus, and root" ];
  jobs.incus = {
    description = "Tests with private incusds and the Debian guest";
    command = import ./pytest.nix { options = "-n 3 --dist loadfile"; paths = "tests/incus"; };
    timeoutSecs = 3600;
  };
}
