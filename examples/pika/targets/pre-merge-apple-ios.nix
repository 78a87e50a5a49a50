# A Mac makes two things first, with its own Xcode: the core library for phones and simulators, and the project that links
# it. The app's tests run in a VM of that Mac, on copies of both.
{ base, macs, ... }:
{
  title = "check-apple-ios";
  description = "The iOS app's tests, in a simulator in a VM";
  trigger = "branch";
  preconditions = [ "Xcode is installed on the Macs and its licence accepted" ];
  snapshot.exclude = [
    "docs/**"
    "macos/**"
  ];
  prepare = {
    core-framework = macs // {
      description = "PikaCore.xcframework, for devices and simulators";
      hostCommand = {
        command = "ios/tools/build-xcframework --release";
        outputs = [
          "ios/Frameworks/PikaCore.xcframework"
          "ios/Bindings"
        ];
      };
      timeoutSecs = 5400;
    };
    xcode-project = macs // {
      description = "Pika.xcodeproj, of project.yml";
      hostCommand = {
        command = "xcodegen generate --spec ios/project.yml";
        outputs = [ "ios/Pika.xcodeproj" ];
      };
      timeoutSecs = 300;
    };
  };
  jobs.ios-tests = macs // {
    runtime = "tart";
    tart = {
      inherit base;
      # The Xcode that made the framework, so the VM needs none of its own.
      xcodePath = "/Volumes/My Shared Files/xcode";
      shares = [
        {
          name = "xcode";
          path = "/Applications/Xcode.app";
        }
        {
          name = "swift-packages";
          path = "/Users/ci/Library/Caches/pika/swift-packages";
          readOnly = false;
        }
      ];
    };
    needs = [
      "core-framework"
      "xcode-project"
    ];
    command = ''
      set -euo pipefail
      # Inputs can't be written, and Xcode writes beside a project.
      mkdir -p ios/Frameworks
      cp -R "$PIKACI_INPUT_CORE_FRAMEWORK/ios/Frameworks/PikaCore.xcframework" ios/Frameworks/
      cp -R "$PIKACI_INPUT_CORE_FRAMEWORK/ios/Bindings" "$PIKACI_INPUT_XCODE_PROJECT/ios/Pika.xcodeproj" ios/
      chmod -R u+w ios
      xcodebuild test -project ios/Pika.xcodeproj -scheme Pika \
        -destination 'platform=iOS Simulator,name=iPhone 16' \
        -clonedSourcePackagesDirPath "$PIKACI_SHARE_SWIFT_PACKAGES" \
        -resultBundlePath "$PIKACI_ARTIFACTS/ios.xcresult"
    '';
    resources = {
      cpus = 6;
      memoryMib = 12288;
    };
    timeoutSecs = 5400;
    retries.test = 1;
  };
}
