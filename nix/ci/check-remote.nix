# Jobs on remote hosts, with hosts that the tests make on this machine: a real sshd, a store and a network for each.
{
  title = "check-remote";
  description = "Tests of remote hosts with a real sshd and a real Incus";
  trigger = "branch";
  preconditions = [ "sshd, Incus, and root" ];
  jobs.remote = {
    description = "Tests with far hosts and a private incusd";
    # They wait for most of their time, so they share the machine.
    command = import ./pytest.nix { options = "-n 4"; paths = "tests/remote"; };
    timeoutSecs = 3600;
  };
}
