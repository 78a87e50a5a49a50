# The package of ./package.nix, built from this tree, and from what it needs of it, so that edits of the rest don't rebuild
# it. Its tests are a check of the flake: checks/unit-tests.nix.
{
  lib,
  callPackage,
  versionCheckHook,
  withForge ? false,
}:
(callPackage ./package.nix { inherit withForge; }).overridePythonAttrs {
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions (
      import ./package-files.nix
      ++ lib.optionals withForge [
        ../orchestrator/pika_git
        ../orchestrator/ph
      ]
    );
  };
  # The metadata needs a readme.
  postPatch = "touch README.md";
  nativeCheckInputs = [ versionCheckHook ];
}
