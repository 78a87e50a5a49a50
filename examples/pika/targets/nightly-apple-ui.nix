# Clicks through the apps, in a VM for each.
{ tart, ... }:
{
  title = "nightly-apple-ui";
  description = "User interface tests of both apps";
  trigger = "nightly";
  jobs = {
    ios-ui = tart // {
      command = "ios/tools/ui-tests";
      timeoutSecs = 7200;
    };
    macos-ui = tart // {
      command = "macos/tools/ui-tests";
      timeoutSecs = 7200;
    };
  };
}
