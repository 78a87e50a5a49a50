final: _prev: {
  pikaci = final.callPackage ./package-here.nix { };
}
