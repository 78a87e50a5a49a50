# Clicks through the apps, in a VM for each. A Mac may run two of them: these are side by side, and others wait.
{ tart, ... }:
let
  clicking = tart // {
    resources = {
      cpus = 4;
      memoryMib = 8192;
    };
    timeoutSecs = 7200;
  };
in
{
  title = "nightly-apple-ui";
  description = "User interface tests of both apps";
  trigger = "nightly";
  jobs = {
    ios-ui = clicking // {
      command = "ios/tools/ui-tests";
    };
    macos-ui = clicking // {
      command = "macos/tools/ui-tests";
    };
  };
}
