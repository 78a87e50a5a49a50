# install-programs.sh OUT PROGRAMS SHELL RUNNER: copies the programs that cargo built (lines of programs.jq) to
# OUT/libexec/{tests,bin}/PACKAGE, and writes OUT/bin/run-PACKAGE for every package with tests, and OUT/bin/run-all.
set -euo pipefail
out=$1 programs=$2 shell=$3 runner=$4

wrapper() { # NAME PACKAGE..
  local name=$1
  shift
  {
    printf '#!%s\npackages=(%s)\n' "$shell" "$*"
    cat "$runner"
  } > "$out/bin/run-$name"
  chmod 555 "$out/bin/run-$name"
}

mkdir -p "$out/bin" "$out/libexec/tests"
packages=()
while IFS=$'\t' read -r package directory kind name file; do
  if [[ ! $package =~ ^[A-Za-z0-9_-]+$ || $package == all ]]; then
    echo "staged-rust: a package can't be called $package here: its tests run as run-$package" >&2
    exit 1
  fi
  where=$out/libexec/tests/$package
  [ "$kind" = test ] || where=$out/libexec/bin/$package
  mkdir -p "$where" "$out/share/pikaci/packages"
  cp "$file" "$where/$name"
  chmod 555 "$where/$name"
  printf '%s\n' "$directory" > "$out/share/pikaci/packages/$package"
  if [ "$kind" = test ] && [[ " ${packages[*]-} " != *" $package "* ]]; then
    packages+=("$package")
  fi
done < "$programs"

if [ ${#packages[@]} = 0 ]; then
  echo "staged-rust: cargo built no tests" >&2
  exit 1
fi
for package in "${packages[@]}"; do
  wrapper "$package" "$package"
done
wrapper all "${packages[@]}"
