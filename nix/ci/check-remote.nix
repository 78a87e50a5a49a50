# Jobs on remote hosts, with hosts that the tests make on this machine: a real sshd, a store and a network for each.
{
  title = "check-remote";
  description = "Tests of remote hosts with a real sshd and a real Incus";
  trigger = "branch";
  preconditions = [ "sshd, Incus, and root" ];
  jobs.remote = {
    description = "Tests with far hosts and a private incusd";
    # They wait for most of their time, so they share the machine; what fails beside others, whose load makes deadlines
    # short, is tried once more alone, and fails for good if it fails again.
    command = "pytest -q -n 4 tests/remote || { echo 'once more, alone:'; pytest -q --last-failed --last-failed-no-failures none tests/remote; }";
    timeoutSecs = 3600;
  };
}
