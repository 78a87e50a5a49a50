# The tests that can run in Nix's sandbox, without a store, root or mounts. pikaci's own lanes run all of them.
{
  lib,
  callPackage,
  python3Packages,
  git,
}:
let
  ofEngine = [
    "git"
    "ids"
    "log"
    "schema"
    "snapshot"
  ];
in
(callPackage ../package.nix { }).overridePythonAttrs {
  pname = "pikaci-unit-tests";
  src = lib.fileset.toSource {
    root = ../../.;
    fileset = lib.fileset.unions [
      ../../pyproject.toml
      ../../orchestrator/jerichoci
      ../../orchestrator/pikaci
      ../../nix/incus/pikaci-incus-run.py
      ../../nix/tart/bootstrap.sh
      ../../schema
      ../../tests
    ];
  };
  nativeCheckInputs = [
    git
  ]
  ++ (with python3Packages; [
    hypothesis
    pyte
    pytest-asyncio
    pytest-subprocess
    pytest-xdist
    pytestCheckHook
  ]);
  # Other versions than the locked ones print other warnings.
  pytestFlags = [ "-Wdefault" ];
  enabledTestPaths = [ "tests/pikaci" ] ++ map (name: "tests/jerichoci/test_${name}.py") ofEngine;
}
