# What the apps have of the workspace, compiled by Nix for macOS. The test programs need no Xcode and no toolchain, only
# Apple's frameworks, which a VM has.
{ staged, ... }:
staged {
  title = "check-apple-rust";
  description = "Core library on macOS: app flows, keychain and bindings";
  trigger = "branch";
  jobs = {
    pika-core = {
      arguments = [ "app_flows" ];
    };
    # The keychain of a fresh VM is empty.
    pika-keychain.arguments = [ "--test-threads=1" ];
    uniffi-bindgen = { };
  };
}
