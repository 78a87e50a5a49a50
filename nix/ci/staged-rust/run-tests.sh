# Runs the test programs of `packages` in the workspace it is started in, each in its package's directory, as `cargo test
# --no-fail-fast` does. Arguments go to every program: filters, --ignored, --test-threads.
set -euo pipefail
root=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd)
workspace=$PWD
failed=()

for package in "${packages[@]}"; do
  directory=$workspace/$(< "$root/share/pikaci/packages/$package")
  if [ ! -d "$directory" ]; then
    echo "staged-rust: $package was built from ${directory#"$workspace"/}, which this workspace hasn't" >&2
    exit 1
  fi
  variables=("CARGO_MANIFEST_DIR=$directory" "CARGO_PKG_NAME=$package")
  for program in "$root/libexec/bin/$package"/*; do
    [ ! -e "$program" ] || variables+=("CARGO_BIN_EXE_${program##*/}=$program")
  done
  for program in "$root/libexec/tests/$package"/*; do
    echo "running ${program##*/} of $package"
    (cd "$directory" && env "${variables[@]}" "$program" "$@") || failed+=("$package/${program##*/}")
  done
done

if [ ${#failed[@]} != 0 ]; then
  echo "failed: ${failed[*]}" >&2
  exit 101
fi
