{ system, lib }:
let
  inherit (import ./build.nix system) build machine;
  named = name: {
    inherit name;
    value = machine name;
  };
  isLinux = builtins.match ".*-linux" system != null;

  packages = builtins.listToAttrs (map named programs) // {
    inherit lib system;
    callPackage =
      file: overrides:
      let
        function = if builtins.isFunction file then file else import file;
      in
      function (builtins.intersectAttrs (builtins.functionArgs function) packages // overrides);
    extend = overlay: packages // overlay packages packages;

    stdenv = {
      hostPlatform = { inherit isLinux system; };
      buildPlatform.canExecute = _: true;
    };
    fetchgit = { url, ... }: throw "there is no network for ${url}";
    runCommand =
      name: attributes: script:
      build name script attributes;
    runCommandLocal =
      name: attributes: script:
      packages.runCommand name (removeAttrs attributes [ "passthru" "meta" ]) script // attributes.passthru or { };
    mkShell = { name, ... }: build name "echo > $out" { };

    python3 = machine "python3" // {
      withPackages = _: machine "python3";
      pkgs = packages.python3Packages;
    };
    python3Packages = import ./python.nix { inherit build lib machine; };
  };

  programs = [
    "bash"
    "coreutils"
    "git"
    "installShellFiles"
    "nix"
    "nix-prefetch-git"
    "nixfmt-tree"
    "openssh"
    "ruff"
    "shellcheck"
    "util-linux"
    "vermin"
    "versionCheckHook"
  ];
in
packages
