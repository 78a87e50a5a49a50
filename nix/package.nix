# pikaci as a Python application, with the programs it runs on its PATH.
{
  lib,
  python3Packages,
  nix,
  git,
}:
python3Packages.buildPythonApplication {
  pname = "pikaci";
  version = "0.1.0";
  pyproject = true;
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../pyproject.toml
      ../README.md
      ../orchestrator
    ];
  };
  build-system = [ python3Packages.hatchling ];
  dependencies = with python3Packages; [
    click
    pydantic
    rich
    wcmatch
  ];
  makeWrapperArgs = [
    "--prefix"
    "PATH"
    ":"
    (lib.makeBinPath [
      nix
      git
    ])
  ];
  pythonImportsCheck = [ "pikaci" ];
  meta = {
    description = "CI that is the same on a laptop and in the forge, for people who use Nix";
    mainProgram = "pikaci";
  };
}
