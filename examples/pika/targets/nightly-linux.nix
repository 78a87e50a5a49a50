# All of the workspace's tests, the ignored ones too.
{ staged }:
staged {
  title = "nightly-linux";
  description = "Every test of the workspace, slow ones too";
  trigger = "nightly";
  jobs.all = {
    arguments = [ "--include-ignored" ];
    # Those that are ignored by default talk to public relays.
    incus = {
      role = "linux-runner";
      network = "incusbr0";
    };
    resources.cpus = 8;
    timeoutSecs = 14400;
  };
}
