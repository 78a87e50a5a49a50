# In a VM, with Xcode and the Rust toolchain of the host.
{ tart, ... }:
{
  title = "check-apple-desktop";
  description = "The desktop app's tests, in a VM";
  trigger = "branch";
  jobs.desktop-tests = tart // {
    command = "cargo test --package pika-desktop";
    timeoutSecs = 3600;
  };
}
