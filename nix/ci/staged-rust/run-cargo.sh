# Runs cargo, offline, in the workspace it is started in, on dependencies that are compiled already: run-cargo clippy.
set -euo pipefail
root=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd)
export PATH
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}" CARGO_HOME="${CARGO_HOME:-$PWD/.cargo-home}"
export CARGO_NET_OFFLINE=true CARGO_INCREMENTAL=0

if [ ! -e "$CARGO_TARGET_DIR/.staged-deps" ]; then
  mkdir -p "$CARGO_TARGET_DIR" "$CARGO_HOME"
  zstd -d -c "$root/target.tar.zst" | tar -x -C "$CARGO_TARGET_DIR"
  cat "$vendored/config.toml" >> "$CARGO_HOME/config.toml"
  : > "$CARGO_TARGET_DIR/.staged-deps"
fi
command=$1
shift
case $command in
  build | check | clippy | doc | run | rustc | test) set -- --profile "$profile" "$@" ;;
esac
exec cargo "$command" "$@"
