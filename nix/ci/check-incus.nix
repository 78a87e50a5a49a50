# Jobs in Incus guests, with a real Incus that the tests start for themselves.
{
  title = "check-incus";
  description = "Tests of Incus guests with a real Incus";
  trigger = "branch";
  preconditions = [ "Incus, and root" ];
  jobs.incus = {
    description = "Tests with private incusds and the Debian guest";
    command = "pytest -q -n 2 -p no:cacheprovider tests/incus";
    timeoutSecs = 3600;
  };
}
