final: _prev: {
  pikaci = final.callPackage ./package.nix { };
}
