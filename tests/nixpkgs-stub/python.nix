{
  build,
  lib,
  machine,
}:
let
  inherit (builtins)
    attrNames
    concatStringsSep
    elemAt
    genList
    isFunction
    length
    listToAttrs
    match
    ;

  # `--prefix NAME : VALUE` and `--suffix NAME : VALUE` of makeWrapper, as shell.
  wrap =
    arguments:
    let
      line =
        index:
        let
          at = offset: elemAt arguments (index * 4 + offset);
          name = at 1;
          between = at 2;
          value = at 3;
        in
        if at 0 == "--prefix" then
          "export ${name}=${value}${between}\$${name}"
        else
          "export ${name}=\$${name}${between}${value}";
    in
    concatStringsSep "\n" (genList line (length arguments / 4));

  # Arguments that may be a function of what they make.
  application =
    arguments:
    let
      given = if isFunction arguments then arguments given else arguments;
      # Not that of the source's copy, which isn't made where Nix only looks.
      inherit (lib.importTOML (given.src.root + "/pyproject.toml")) project;
      program =
        name:
        let
          module = elemAt (match "([^:.]*).*" project.scripts.${name}) 0;
        in
        ''
          if [ -e ${given.src}/orchestrator/${module} ]; then
            cat > $out/bin/${name} <<'END'
          #!/bin/sh
          ${wrap (given.makeWrapperArgs or [ ])}
          export PYTHONPATH=${given.src}/orchestrator PYTHONDONTWRITEBYTECODE=1
          exec python3 -m ${module} "$@"
          END
            chmod +x $out/bin/${name}
          fi
        '';
      made = build "${given.pname}-${given.version}" ''
        mkdir -p $out/bin
        ${concatStringsSep "\n" (map program (attrNames project.scripts))}
      '' { };
    in
    made
    // {
      inherit (given) pname version src meta;
      dependencies = given.dependencies or [ ];
      overridePythonAttrs =
        changes:
        application (
          finalAttrs: (if isFunction arguments then arguments finalAttrs else arguments) // changes
        );
    }
    // given.passthru or { };
in
listToAttrs (
  map
    (name: {
      inherit name;
      value = machine name;
    })
    [
      "alembic"
      "asyncssh"
      "click"
      "cryptography"
      "defusedxml"
      "fastapi"
      "hatchling"
      "hypothesis"
      "jinja2"
      "mypy"
      "pydantic"
      "pylxd"
      "pyte"
      "pytest"
      "pytest-asyncio"
      "pytest-subprocess"
      "pytest-xdist"
      "pytestCheckHook"
      "python-multipart"
      "requests"
      "requests-toolbelt"
      "rich"
      "sqlalchemy"
      "uvicorn"
      "websockets"
    ]
)
// {
  buildPythonApplication = application;
  mkPythonEditablePackage = { pname, ... }: machine pname;
}
