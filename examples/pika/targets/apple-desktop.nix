# In a VM on this Mac, with the Rust toolchain of the Mac: what a developer's cargo builds is what is tested.
{ base, tart, ... }:
{
  title = "check-apple-desktop";
  description = "The desktop app's tests, in a VM";
  trigger = "branch";
  jobs.desktop-tests = tart // {
    command = "cargo test --package pika-desktop";
    tart = {
      inherit base;
      mountHostToolchain = true;
    };
    resources = {
      cpus = 4;
      memoryMib = 8192;
    };
    timeoutSecs = 3600;
  };
}
