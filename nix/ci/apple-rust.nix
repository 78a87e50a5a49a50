# A Rust workspace in two stages, for jobs on a Mac and in macOS VMs. Apple's frameworks are nixpkgs' SDK's, so that a Mac
# needs no Xcode to build it; what only Xcode makes is a host command's.
{
  pkgs,
  # A later one than nixpkgs' own, say.
  appleSdk ? pkgs.apple-sdk,
  ...
}@args:
import ./staged-rust.nix {
  kind = "apple-rust";
  environment = {
    # Crates' build scripts look at these two: other ones would have the dependencies compiled anew.
    DEVELOPER_DIR = "${appleSdk}";
    SDKROOT = appleSdk.sdkroot;
    # The SDK has no libiconv, which all that has the crate libc is linked with.
    LIBRARY_PATH = "${pkgs.libiconv}/lib";
  };
} (removeAttrs args [ "appleSdk" ] // { buildInputs = (args.buildInputs or [ ]) ++ [ appleSdk ]; })
