# A Rust workspace built in two stages, for stagedRust: its dependencies on a stubbed source, which only Cargo.toml and
# Cargo.lock change, and its test programs on top. crane does the work; the caller passes it in.
#
# linux-rust.nix and apple-rust.nix are this for their platforms.
{
  # A kind of ../lib/staged-rust.nix.
  kind,
  # Variables of `run-cargo` for cargo and the linker, as in the builds.
  environment ? { },
}:
{
  pkgs,
  craneLib,
  src,
  # If it isn't at the root of src.
  cargoLock ? null,
  pname ? "workspace",
  version ? "0",
  profile ? "dev",
  cargoExtraArgs ? "--locked",
  # Which tests to build: all of the workspace.
  cargoTestExtraArgs ? "--workspace",
  # Programs besides run-<package> and run-all: bash scripts by name, run in the workspace with these on PATH.
  wrappers ? { },
  # Programs on the PATH of `run-cargo`, besides the toolchain.
  cargoTools ? [ ],
  # The rest goes to crane: buildInputs, nativeBuildInputs, env, outputHashes ...
  ...
}@args:
let
  inherit (builtins)
    attrNames
    attrValues
    concatStringsSep
    mapAttrs
    match
    removeAttrs
    toJSON
    ;
  shell = pkgs.runtimeShell;

  lock = if cargoLock == null then { } else { inherit cargoLock; };
  cargoVendorDir = args.cargoVendorDir or (craneLib.vendorCargoDeps (forCrane // lock));

  forCrane = removeAttrs args [
    "pkgs"
    "craneLib"
    "cargoLock"
    "profile"
    "cargoTestExtraArgs"
    "wrappers"
    "cargoTools"
  ];

  common =
    forCrane
    // lock
    // {
      inherit
        src
        pname
        version
        cargoVendorDir
        ;
      CARGO_PROFILE = profile;
    };

  toolchain = [
    (craneLib.cargo or pkgs.cargo)
    (craneLib.rustc or pkgs.rustc)
    pkgs.stdenv.cc
    pkgs.zstd
    pkgs.gnutar
    pkgs.coreutils
  ];

  # A manifest without its entrypoints, which the build adds. Guest paths: see nix/lib/staged-rust.nix.
  manifestOf = stage: assets: {
    schema_version = 1;
    kind = "${kind}-${stage}";
    asset_roots = assets;
    mounts = [
      {
        name = stage;
        relative_path = ".";
        guest_path = "/staged/${kind}/${stage}";
        read_only = true;
      }
    ];
  };

  # The last step: every program under bin is an entrypoint.
  describe = stage: assets: ''
    bash ${./staged-rust/manifest.sh} "$out" ${quote (toJSON (manifestOf stage assets))}
  '';

  quote = text: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] text}'";

  install = name: text: ''
    mkdir -p "$out/bin"
    printf '#!%s\n%s\n' ${shell} ${quote text} > "$out/bin/run-${name}"
    chmod 555 "$out/bin/run-${name}"
  '';

  wrapper =
    name:
    if match "[A-Za-z0-9][A-Za-z0-9._-]*" name == null then
      throw "${kind}: wrappers: expected names of letters, digits, \".\", \"_\" and \"-\", found ${toJSON name}"
    else
      install name ''
        set -euo pipefail
        PATH="$(cd "''${BASH_SOURCE[0]%/*}" && pwd):$PATH"
        ${wrappers.${name}}'';
in
rec {
  inherit kind;

  workspaceDeps = craneLib.buildDepsOnly (
    common
    // {
      inherit cargoExtraArgs;
      installCargoArtifactsMode = "use-zstd";
      installPhaseCommand =
        install "cargo" ''
          PATH=${concatStringsSep ":" (map (package: "${package}/bin") (toolchain ++ cargoTools))}:$PATH
          ${concatStringsSep "\n" (attrValues (mapAttrs (name: value: "export ${name}=${quote value}") environment))}
          vendored=${cargoVendorDir}
          profile=${quote profile}
          ${builtins.readFile ./staged-rust/run-cargo.sh}''
        + describe "workspace-deps" [ "target.tar.zst" ];
    }
  );

  workspaceBuild = craneLib.mkCargoDerivation (
    removeAttrs common [ "cargoExtraArgs" ]
    // {
      cargoArtifacts = workspaceDeps;
      pnameSuffix = "-tests";
      nativeBuildInputs = (args.nativeBuildInputs or [ ]) ++ [ pkgs.jq ];
      doCheck = false;
      doInstallCargoArtifacts = false;
      buildPhaseCargoCommand = ''
        cargoWithProfile test ${cargoExtraArgs} ${cargoTestExtraArgs} --no-run \
          --message-format json-render-diagnostics > "$TMPDIR/messages.json"
        cargo metadata --format-version 1 --no-deps --offline > "$TMPDIR/metadata.json"
      '';
      installPhaseCommand = ''
        jq -r --slurpfile metadata "$TMPDIR/metadata.json" -f ${./staged-rust/programs.jq} \
          "$TMPDIR/messages.json" > "$TMPDIR/programs"
        bash ${./staged-rust/install-programs.sh} "$out" "$TMPDIR/programs" ${shell} ${./staged-rust/run-tests.sh}
      ''
      + concatStringsSep "" (map wrapper (attrNames wrappers))
      + describe "workspace-build" [ "libexec/tests" ];
    }
  );
}
