# A shell for working on pikaci. `pikaci` in it runs the checkout's sources.
{
  lib,
  stdenv,
  callPackage,
  mkShell,
  python3,
  git,
  nix,
  nixfmt-tree,
  openssh,
  ruff,
  shellcheck,
  util-linux,
  vermin,
}:
let
  pikaci = callPackage ./package-here.nix { };
  checkout = python3.pkgs.mkPythonEditablePackage {
    inherit (pikaci) pname version dependencies;
    root = "$PIKACI_CHECKOUT/orchestrator";
    scripts.pikaci = "pikaci.__main__:main";
  };
in
mkShell {
  name = "pikaci-dev";
  packages = [
    (python3.withPackages (
      packages:
      [ checkout ]
      ++ (with packages; [
        hypothesis
        mypy
        pyte
        pytest
        pytest-asyncio
        pytest-subprocess
        pytest-xdist
        towncrier
      ])
    ))
    git
    nix
    nixfmt-tree
    openssh
    ruff
    shellcheck
    vermin
  ]
  ++ lib.optionals stdenv.hostPlatform.isLinux [
    util-linux
  ];
  shellHook = ''
    PIKACI_CHECKOUT=$(git rev-parse --show-toplevel 2>/dev/null || pwd)
    export PIKACI_CHECKOUT
  '';
}
