# The shape of a staged Rust build, without cargo and crane: ../ci/staged-rust.nix with fakes, so that its plan, manifests,
# wrappers and mounts can be tested with a shell only. Builtins only, unless pkgs is given.
#
# The fake cargo "compiles" crates/*/tests/*.sh and crates/*/main.sh of src, and prints what programs.jq
# would extract from the real one's messages; the fake jq passes that on. This does not test that a Rust workspace builds.
{
  system,
  pkgs ? { },
  # The same file in ../ci.
  kind ? "linux-rust",
  src ? ./staged-rust,
  wrappers ? {
    smoke = "run-beta";
  },
  ...
}:
let
  inherit (builtins) baseNameOf concatStringsSep elem;

  shell = pkgs.runtimeShell or "/bin/bash";
  run =
    pkgs.runCommand or (
      name: _: script:
      derivation {
        inherit name system;
        builder = "/bin/sh";
        args = [
          "-ec"
          script
        ];
        PATH = "/usr/bin:/bin";
      }
    );

  tool =
    name: text:
    run name { } ''
      mkdir -p $out/bin
      printf '#!%s\n%s\n' ${shell} '${text}' > $out/bin/${name}
      chmod 555 $out/bin/${name}
    '';

  cargo = ''
    cargo() {
      [ "$1" = test ] || return 0
      for file in crates/*/tests/*.sh crates/*/main.sh; do
        directory=''${file%/*}
        case $file in
          */main.sh) kind=bin name=''${directory##*/} ;;
          *) kind=test name=$(basename $file .sh)-test directory=''${directory%/tests} ;;
        esac
        program=$TMPDIR/''${directory##*/}-$name-$kind
        { printf '#!%s\nset -e\n' ${shell}; cat $file; } > $program
        printf '%s\t%s\t%s\t%s\t%s\n' ''${directory##*/} $directory $kind $name $program
      done
    }
    cargoWithProfile() {
      cargo "$@"
    }
  '';

  # The files of crane's dummy source.
  manifests = builtins.path {
    name = "manifests";
    path = src;
    filter =
      path: type:
      type == "directory"
      || elem (baseNameOf path) [
        "Cargo.toml"
        "Cargo.lock"
      ];
  };

  craneLib = {
    vendorCargoDeps = _: run "vendored" { } "mkdir $out; echo '[source.crates-io]' > $out/config.toml";

    buildDepsOnly =
      args:
      run "${args.pname}-deps" { } ''
        ${args.installPhaseCommand}
        (cd ${manifests}; find . -name Cargo.lock) > $out/target.tar.zst
      '';

    mkCargoDerivation =
      args:
      run "${args.pname}${args.pnameSuffix}" { } ''
        test -f ${args.cargoArtifacts}/target.tar.zst
        PATH=${concatStringsSep ":" (map (package: "${package}/bin") args.nativeBuildInputs)}:$PATH
        TMPDIR=$PWD
        ${cargo}
        cd ${args.src}
        ${args.buildPhaseCargoCommand}
        ${args.installPhaseCommand}
      '';
  };

  built = import (../ci + "/${kind}.nix") {
    inherit craneLib src wrappers;
    pkgs = {
      runtimeShell = shell;
      cargo = tool "cargo" ''echo "cargo $*, SDK ''${SDKROOT-none}, dependencies from $(cat "$CARGO_TARGET_DIR/unpacked")"'';
      rustc = tool "rustc" "";
      zstd = tool "zstd" ''cat "$3"'';
      gnutar = tool "tar" ''cat > "$3/unpacked"'';
      coreutils = tool "true" "";
      stdenv.cc = tool "cc" "";
      libiconv = tool "iconv" "";
      apple-sdk = tool "xcrun" "" // {
        sdkroot = "/the SDK's";
      };
      jq = tool "jq" ''while [ $# -gt 1 ]; do shift; done; cat "$1"'';
    };
  };
  inherit (built) workspaceDeps workspaceBuild;
in
run "pikaci-staged-rust" { } ''
  cd ${src}
  ${workspaceBuild}/bin/run-alpha one two | grep -x "ok: alpha greets with 2 arguments: one two"
  ${workspaceBuild}/bin/run-smoke | grep -x "ok: beta"
  ${workspaceBuild}/bin/run-all > /dev/null
  for output in ${workspaceDeps} ${workspaceBuild}; do
    test -s $output/share/pikaci/payload-manifest.json
  done
  echo > $out
''
// built
