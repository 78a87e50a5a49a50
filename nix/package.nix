# pikaci in the form of nixpkgs: this file can be its pkgs/by-name/pi/pikaci/package.nix, with what is said to be missing.
# The flake builds the same from its own tree: ./package-here.nix.
{
  lib,
  stdenv,
  python3Packages,
  fetchgit,
  callPackage,
  installShellFiles,
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
  # Without their libraries, the programs of the forge are of no use.
  forgePrograms = [
    "pika-git"
    "ph"
  ];
  programs = [ "pikaci" ] ++ lib.optionals withForge forgePrograms;
in
python3Packages.buildPythonApplication (finalAttrs: {
  pname = "pikaci" + lib.optionalString withForge "-forge";
  version = "0.1.0";
  pyproject = true;

  # Missing: the address of the published repository, and the hash.
  src = fetchgit {
    url = "https://example.org/pikaci";
    tag = "v${finalAttrs.version}";
    hash = lib.fakeHash;
  };

  build-system = with python3Packages; [
    click
    hatchling
  ];

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

  nativeBuildInputs = [ installShellFiles ];

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

  # Files for guests stay unpatched: their first line means the guest's bash and Python, not this store's.
  postInstall = ''
    chmod a-x $out/${python3Packages.python.sitePackages}/jerichoci/runtime/tart/guest_files/*
  ''
  + lib.optionalString (!withForge) ''
    rm -rf $out/${python3Packages.python.sitePackages}/{pika_git,ph}
    rm -f ${lib.concatMapStringsSep " " (name: "$out/bin/${name} $out/share/man/man1/${name}{,-*}.1") forgePrograms}
  ''
  + lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) (
    lib.concatMapStrings (
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
    ) programs
  );

  # A dev shell's PYTHONPATH or PYTHONHOME is for other programs.
  postFixup = lib.concatMapStrings (program: ''
    sed -i '1s|$| -I|' $out/bin/.${program}-wrapped
  '') programs;

  # The tests that can run in Nix's sandbox, without a store, root or mounts. pikaci's own lanes run all of them.
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
  enabledTestPaths = [
    "tests/pikaci"
    "tests/jerichoci/test_git.py"
    "tests/jerichoci/test_ids.py"
    "tests/jerichoci/test_log.py"
    "tests/jerichoci/test_snapshot.py"
  ];
  nativeInstallCheckInputs = [ versionCheckHook ];

  pythonImportsCheck = [
    "jerichoci"
    "pikaci"
  ]
  ++ lib.optionals withForge [
    "pika_git"
    "ph"
  ];

  passthru.tests = lib.optionalAttrs (!withForge) {
    forge = callPackage ./package.nix { withForge = true; };
  };

  meta = {
    description = "CI that is the same on a laptop and on a CI server, for people who use Nix";
    # Missing: homepage, changelog, license, maintainers.
    mainProgram = "pikaci";
    platforms = lib.platforms.linux ++ lib.platforms.darwin;
  };
})
