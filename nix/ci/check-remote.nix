# Jobs on remote hosts, which the tests create on this machine: each with a real sshd, a store and a network.
{
  title = "check-remote";
  description = "Tests of remote hosts with a real sshd and a real Incus";
  trigger = "branch";
  preconditions = [ "sshd, Incus, and root" ];
  jobs.remote = {
    description = "Tests with far hosts and a private incusd";
    # The tests mostly wait, so they share the machine; those with Incus, or with one sshd, share that.
    command = import ./pytest.nix { options = "-n 6"; paths = "tests/remote"; };
    timeoutSecs = 3600;
  };
}
