#!/usr/bin/env bash
# .venv: a Python environment for this checkout, with exactly what ci/requirements/{run,forge,dev}.txt lock, and pikaci itself
# installed in place. Made again only when those files change. Usage: python.sh run|forge|dev
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

kind=${1:-}
case $kind in run | forge | dev) ;; *) die "usage: python.sh run|forge|dev" ;; esac

# The interpreter itself: a venv made from a version manager's shim would follow the shim.
python=$(PATH=$(path_outside) python3 -c 'import sys; print(sys.executable)')
origin="$python $venv"

stamp() { echo "$venv/.installed-$1"; }

wanted() { (cd "$root" && echo "$origin isolated, INT blocked" && sha256sum "ci/requirements/$1.txt" pyproject.toml); }

is_current() { [ -x "$venv/bin/pikaci" ] && [ "$(cat "$(stamp "$1")" 2>/dev/null)" = "$(wanted "$1")" ]; }

# forge holds all that run holds, dev all that both hold: an environment for it serves them, too.
is_ready() {
  case $kind in
    run) is_current run || is_current forge || is_current dev ;;
    forge) is_current forge || is_current dev ;;
    dev) is_current dev ;;
  esac
}

if is_ready; then exit 0; fi
exec 9<"$root"
flock 9
if is_ready; then exit 0; fi

say "installing Python packages for '$kind' in .venv"
mkdir -p "$cache"
export PIP_CACHE_DIR=${PIP_CACHE_DIR:-$cache/pip} PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
rm -f "$venv"/.installed-*
if [ "$(cat "$venv/.origin" 2>/dev/null)" != "$origin" ]; then
  "$python" -m venv --clear "$venv" # takes Nix's wrappers along: nix.sh, which runs after this, puts them back
  echo "$origin" >"$venv/.origin"
fi
"$venv/bin/python" -m pip install -qq --require-hashes -r "$root/ci/requirements/$kind.txt"
"$venv/bin/python" -m pip install -qq --no-deps --no-build-isolation -e "$root"
# A dev shell's PYTHONPATH or PYTHONHOME is for other programs: pikaci's libraries are always its own. The second line is
# that of a path too long, or with a space, for the first.
sed -i -e '1s|^#!.*/python[0-9.]*$|& -I|' -e '2s|exec\(.*\) "\$0"|exec\1 -I "$0"|' "$venv"/bin/{pikaci,pika-git,ph}
# Ctrl-C while Python starts would be a traceback: pikaci's first line lets it come.
if env --block-signal=INT true 2>/dev/null; then
  sed -i '1s|^#!\([[:alnum:]/._-]* -I\)$|#!/usr/bin/env -S --block-signal=INT \1|' "$venv/bin/pikaci"
fi
wanted "$kind" >"$(stamp "$kind")"
