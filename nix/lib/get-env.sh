# Run by the builder of a development shell in the place of its own script: writes to $out a script for bash that gives the
# variables and functions that the shell has once its stdenv is set up.
if [ -n "${NIX_ATTRS_SH_FILE:-}" ] && [ -e "$NIX_ATTRS_SH_FILE" ]; then
  . "$NIX_ATTRS_SH_FILE"
fi
target=${out:-${outputs[out]}}
export IN_NIX_SHELL=impure
export dontAddDisableDepTrack=1
if [ -n "${stdenv:-}" ]; then
  . "$stdenv/setup"
fi
set +eu
{
  printf 'pikaci_path=$PATH\n'
  while IFS= read -r name; do
    case $name in
      # The build's own, the machine's, and what no shell may set.
      BASH* | DIRSTACK | EUID | FUNCNAME | GROUPS | HOME | HOSTNAME | HOSTTYPE | IFS | LINENO | MACHTYPE | NIX_ATTRS_* | \
        NIX_BUILD_CORES | NIX_BUILD_TOP | NIX_ENFORCE_PURITY | NIX_LOG_FD | NIX_REMOTE | NIX_STORE | OLDPWD | OPTERR | \
        OPTIND | OSTYPE | PIPESTATUS | PPID | PS4 | PWD | RANDOM | SECONDS | SHELL | SHELLOPTS | SHLVL | SRANDOM | EPOCH* | \
        SSL_CERT_FILE | TEMP | TEMPDIR | TERM | TMP | TMPDIR | TZ | UID | _ | name | target) ;;
      *) declare -p "$name" 2>/dev/null ;;
    esac
  done < <(compgen -v 2>/dev/null || declare -p | sed -n 's/^declare [^ ]* \([A-Za-z_][A-Za-z0-9_]*\).*/\1/p')
  declare -f
  printf 'PATH=$PATH${pikaci_path:+:$pikaci_path}\nunset pikaci_path\n'
  printf 'for name in %s; do export "$name=$PWD/outputs/$name"; done\nunset name\n' "${outputs[*]:-out}"
  printf '# %s\n' "$BASH"
} >"$target"
