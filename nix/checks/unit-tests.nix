# The tests that need neither a Nix store nor root. tests/nix and tests/e2e need them: pikaci's own lanes run those.
{
  lib,
  callPackage,
  python3Packages,
  git,
}:
(callPackage ../package.nix { }).overridePythonAttrs {
  pname = "pikaci-unit-tests";
  src = lib.fileset.toSource {
    root = ../../.;
    fileset = lib.fileset.unions [
      ../../pyproject.toml
      ../../orchestrator/jerichoci
      ../../orchestrator/pikaci
      ../../tests/jerichoci
      ../../tests/pikaci
      ../../tests/usertree.py
    ];
  };
  nativeCheckInputs = [
    git
  ]
  ++ (with python3Packages; [
    hypothesis
    pytest-asyncio
    pytest-subprocess
    pytest-xdist
    pytestCheckHook
  ]);
  enabledTestPaths = [
    "tests/jerichoci"
    "tests/pikaci"
  ];
}
