# On the Mac itself, where its keychain and simulators are.
{ host, ... }:
{
  title = "check-apple-host-sanity";
  description = "iOS and macOS apps build and start on the Mac itself";
  trigger = "branch";
  preconditions = [ "Xcode is installed and its licence accepted" ];
  jobs = {
    ios-build = host // {
      command = "xcodebuild -project ios/Pika.xcodeproj -scheme Pika -sdk iphonesimulator build";
      timeoutSecs = 3600;
    };
    ios-launch = host // {
      needs = [ "ios-build" ];
      command = "ios/tools/launch-in-simulator";
    };
  };
}
