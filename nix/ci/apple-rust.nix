# A Rust workspace in two stages, for jobs on a Mac and in macOS VMs. Apple's frameworks are nixpkgs' SDK's, so a Mac
# needs no Xcode to build it. Make what only Xcode can make with a host command.
{
  pkgs,
  # For example, one newer than nixpkgs' own.
  appleSdk ? pkgs.apple-sdk,
  ...
}@args:
import ./staged-rust.nix {
  kind = "apple-rust";
  environment = {
    # Build scripts of crates read these two: other values would recompile the dependencies.
    DEVELOPER_DIR = "${appleSdk}";
    SDKROOT = appleSdk.sdkroot;
    # The SDK has no libiconv, which the crate libc links to.
    LIBRARY_PATH = "${pkgs.libiconv}/lib";
  };
} (removeAttrs args [ "appleSdk" ] // { buildInputs = (args.buildInputs or [ ]) ++ [ appleSdk ]; })
