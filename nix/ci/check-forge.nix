# The forge: real pushes, real runs of pikaci, a browser.
{
  title = "check-forge";
  description = "Tests of the forge and its command line";
  trigger = "branch";
  preconditions = [ "Chromium and nginx" ];
  jobs.forge = {
    description = "Tests with real repositories, processes and a browser";
    # Their processes are many: two at a time, those of a file in one worker.
    command = import ./pytest.nix {
      options = "-n 2 --dist loadfile";
      paths = "tests/pika_git tests/ph";
    };
    timeoutSecs = 3600;
  };
}
