{
  description = "A project whose CI runs with pikaci";

  # Put in where you have pikaci: "git+https://HOST/pikaci", "git+file:///home/me/pikaci", "path:/home/me/pikaci".
  inputs.pikaci.url = "git+https://example.org/pikaci";

  # Other inputs are other arguments here. The targets need no nixpkgs.
  outputs =
    { pikaci, ... }:
    {
      # `nix run .#pikaci -- run check`: for those who haven't installed pikaci, the one that flake.lock pins.
      inherit (pikaci) apps;

      pikaci = pikaci.lib.mkCatalog {
        systems = [
          "x86_64-linux"
          "aarch64-linux"
          "aarch64-darwin"
        ];
        lanes = ./ci/forge-lanes.toml;
        targets = import ./ci;
      };
    };
}
