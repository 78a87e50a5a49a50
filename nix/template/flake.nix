{
  description = "A project whose CI runs with pikaci";

  # Replace this with your pikaci: "git+https://HOST/pikaci", "git+file:///home/me/pikaci" or "path:/home/me/pikaci".
  inputs.pikaci.url = "git+https://example.org/pikaci";

  # Add your other inputs as arguments here. The targets need no nixpkgs.
  outputs =
    { pikaci, ... }:
    {
      # `nix run .#pikaci -- run check` runs the pikaci that flake.lock pins, without installing it.
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
