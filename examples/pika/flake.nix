{
  description = "CI of a messenger: Rust on Linux in Incus containers, Apple on Macs and in Tart VMs";

  # This example lies in pikaci's own repository and takes the library from there. In a repository of yours:
  #
  #   inputs.pikaci.url = "github:owner/pikaci";
  #   outputs = { self, pikaci, ... }: { pikaci = pikaci.lib.mkCatalog { ... }; };
  #
  # and says what builds the image:
  #
  #   images.linux-runner.package = system: pikaci.packages.${system}.incus-image-container;
  outputs =
    _:
    let
      lib = import ../../nix/lib;
    in
    {
      pikaci = lib.mkCatalog {
        systems = [
          "x86_64-linux"
          "aarch64-darwin"
        ];
        lanes = ./ci/forge-lanes.toml;
        images.linux-runner = {
          alias = "pika/linux-runner";
          instanceType = "container";
        };
        targets = import ./targets { inherit lib; };
      };
    };
}
