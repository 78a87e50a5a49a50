{
  description = "A project whose CI runs with pikaci";

  # Where pikaci is: "git+https://HOST/pikaci", "git+file:///home/me/pikaci" or "path:/home/me/pikaci".
  inputs.pikaci.url = "git+https://example.org/pikaci";
  # The nixpkgs that pikaci is tested with. Only targets that use it fetch it. You can give a URL of your own instead.
  inputs.nixpkgs.follows = "pikaci/nixpkgs";

  outputs =
    { nixpkgs, pikaci, ... }:
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
        targets =
          system:
          import ./ci {
            inherit system;
            pkgs = nixpkgs.legacyPackages.${system};
          };
      };
    };
}
