# pikaci as a Python application, with the programs it runs on its PATH; with the forge, if asked.
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
  withForge ? false,
}:
let
  inherit (lib.importTOML ../pyproject.toml) project;
  # Without the forge's code its programs are of no use, and aren't there.
  forgePrograms = [
    "pika-git"
    "ph"
  ];
  programs = [ project.name ] ++ lib.optionals withForge forgePrograms;
  completions = lib.concatMapStrings (
    program:
    let
      variable = "_${lib.toUpper (lib.replaceStrings [ "-" ] [ "_" ] program)}_COMPLETE";
    in
    ''
      installShellCompletion --cmd ${program} \
        --bash <(${variable}=bash_source $out/bin/${program}) \
        --zsh <(${variable}=zsh_source $out/bin/${program}) \
        --fish <(${variable}=fish_source $out/bin/${program})
    ''
  ) programs;
in
python3Packages.buildPythonApplication {
  pname = project.name + lib.optionalString withForge "-forge";
  inherit (project) version;
  pyproject = true;

  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions (
      [
        ../pyproject.toml
        ../orchestrator/jerichoci
        ../orchestrator/pikaci
        ../nix/incus/pikaci-incus-run.py
        ../nix/tart/bootstrap.sh
      ]
      ++ lib.optionals withForge [
        ../orchestrator/pika_git
        ../orchestrator/ph
      ]
    );
  };
  # The metadata needs a readme. An empty one, so that edits of the real one don't rebuild this.
  postPatch = "touch README.md";

  build-system = [ python3Packages.hatchling ];
  dependencies =
    with python3Packages;
    [
      asyncssh
      click
      jinja2
      cryptography
      defusedxml
      pydantic
      pylxd
      requests
      requests-toolbelt
      rich
      websockets
    ]
    ++ lib.optionals withForge [
      alembic
      fastapi
      python-multipart
      sqlalchemy
      uvicorn
    ];

  # The user's own programs come first: Nix has to match its daemon, git and ssh have the user's settings and agents.
  # But not bash: jobs need a recent one, which macOS lacks. And the forge runs the pikaci that it was made with.
  makeWrapperArgs = [
    "--prefix"
    "PATH"
    ":"
    (lib.makeBinPath ([ bash ] ++ lib.optional withForge (placeholder "out")))
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
  + lib.optionalString (!withForge) ''
    rm ${lib.concatMapStringsSep " " (program: "$out/bin/${program}") forgePrograms}
  ''
  + lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    ${completions}
    PATH=$out/bin:$PATH bash ${./man-pages.sh} man ${toString programs}
    installManPage man/*.1
  '';

  # A dev shell's PYTHONPATH or PYTHONHOME is for other programs.
  postFixup = lib.concatMapStrings (program: ''
    sed -i '1s|$| -I|' $out/bin/.${program}-wrapped
  '') programs;

  pythonImportsCheck = [
    "jerichoci"
    "pikaci"
  ]
  ++ lib.optionals withForge [
    "pika_git"
    "ph"
  ];
  nativeInstallCheckInputs = [ versionCheckHook ];

  passthru.tests.unit-tests = callPackage ./checks/unit-tests.nix { };

  meta = {
    inherit (project) description;
    mainProgram = "pikaci";
  };
}
