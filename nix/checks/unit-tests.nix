# The package with its tests: those that can run in Nix's sandbox. pikaci's own lanes run all of them.
{ lib, callPackage }:
(callPackage ../package.nix { }).overridePythonAttrs {
  pname = "pikaci-unit-tests";
  src = lib.fileset.toSource {
    root = ../../.;
    fileset = lib.fileset.unions (
      import ../package-files.nix
      ++ [
        ../../schema
        ../../tests
      ]
    );
  };
  postPatch = "touch README.md";
}
