# pikaci as a Python application, with the programs it runs on its PATH.
{
  lib,
  stdenv,
  callPackage,
  python3Packages,
  installShellFiles,
  help2man,
  versionCheckHook,
  bash,
  coreutils,
  git,
  nix,
  nix-prefetch-git,
  openssh,
  util-linux,
}:
let
  inherit (lib.importTOML ../pyproject.toml) project;
in
python3Packages.buildPythonApplication {
  pname = project.name;
  inherit (project) version;
  pyproject = true;

  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../pyproject.toml
      ../orchestrator/jerichoci
      ../orchestrator/pikaci
      ../nix/incus/pikaci-incus-run.py
      ../nix/tart/bootstrap.sh
    ];
  };
  # The metadata needs a readme. An empty one, so that edits of the real one don't rebuild this.
  postPatch = "touch README.md";

  build-system = [ python3Packages.hatchling ];
  dependencies = with python3Packages; [
    asyncssh
    click
    pydantic
    pylxd
    requests
    requests-toolbelt
    rich
    websockets
  ];

  # The user's own programs come first: Nix has to match its daemon, git and ssh have the user's settings and agents.
  # But not bash: jobs need a recent one, which macOS lacks.
  makeWrapperArgs = [
    "--prefix"
    "PATH"
    ":"
    (lib.makeBinPath [ bash ])
    "--suffix"
    "PATH"
    ":"
    (lib.makeBinPath (
      [
        coreutils
        git
        nix
        nix-prefetch-git
        openssh
      ]
      ++ lib.optional stdenv.hostPlatform.isLinux util-linux
    ))
  ];

  nativeBuildInputs = [
    help2man
    installShellFiles
  ];
  # Files for guests stay unpatched: their first line means the guest's bash and Python, not this store's.
  postInstall = ''
    chmod a-x $out/lib/python*/site-packages/jerichoci/runtime/tart/guest_files/*
  ''
  + lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    installShellCompletion --cmd pikaci \
      --bash <(_PIKACI_COMPLETE=bash_source $out/bin/pikaci) \
      --zsh <(_PIKACI_COMPLETE=zsh_source $out/bin/pikaci) \
      --fish <(_PIKACI_COMPLETE=fish_source $out/bin/pikaci)
    PATH=$out/bin:$PATH bash ${./man-pages.sh} man
    installManPage man/*.1
  '';

  # A dev shell's PYTHONPATH or PYTHONHOME is for other programs.
  postFixup = "sed -i '1s|$| -I|' $out/bin/.pikaci-wrapped";

  pythonImportsCheck = [
    "jerichoci"
    "pikaci"
  ];
  nativeInstallCheckInputs = [ versionCheckHook ];

  passthru.tests.unit-tests = callPackage ./checks/unit-tests.nix { };

  meta = {
    inherit (project) description;
    mainProgram = "pikaci";
  };
}
