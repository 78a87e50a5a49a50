#!/usr/bin/env bash
# What tests of the forge need: a browser with its driver, nginx in front of the service, and axe-core, which checks pages
# for accessibility. Starts nothing: nginx is unpacked, not installed, since its package starts a web server and lets it
# start with the machine. Says nothing when nothing is missing.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

nginx=$cache/nginx-$(uname -m)
axe=$venv/axe

has() { PATH=$PATH:$system_programs command -v "$1" >/dev/null; }

unpack_nginx() (
  command -v apt-get >/dev/null || die "missing: nginx. Install it with this system's package manager, then try again."
  say "unpacking Debian's nginx in $nginx"
  temp=$(mktemp -d)
  trap 'rm -rf "$temp"' EXIT
  cd "$temp"
  apt-get download -qq -o APT::Sandbox::User="$(id -un)" nginx >&2 ||
    { need_root "Updating apt's lists" && as_root apt-get update -qq >&2 &&
      apt-get download -qq -o APT::Sandbox::User="$(id -un)" nginx >&2; }
  dpkg-deb -x nginx_*.deb unpacked
  mkdir -p "$nginx"
  mv unpacked/usr/sbin/nginx "$nginx/nginx"
)

install_axe() {
  say "installing axe-core in .venv/axe"
  mkdir -p "$axe"
  cp "$root"/tests/pika_git/axe/package{,-lock}.json "$axe/"
  npm ci --prefix "$axe" --ignore-scripts --no-audit --no-fund --silent --cache "$cache/npm" >&2
}

wanted=()
has chromium || wanted+=(chromium)
has chromedriver || wanted+=(chromium-driver)
has npm || wanted+=(npm)
if [ ${#wanted[@]} -gt 0 ]; then
  on_debian || die "missing: ${wanted[*]}. Install them with this system's package manager, then try again."
  install_packages "${wanted[@]}"
fi
if ! PATH=$(path_outside):$system_programs command -v nginx >/dev/null; then
  [ -x "$nginx/nginx" ] || unpack_nginx
  [ "$(readlink "$venv/bin/nginx")" = "$nginx/nginx" ] || { mkdir -p "$venv/bin" && ln -sfn "$nginx/nginx" "$venv/bin/nginx"; }
fi
cmp -s "$root/tests/pika_git/axe/package-lock.json" "$axe/node_modules/.installed" || {
  install_axe
  cp "$axe/package-lock.json" "$axe/node_modules/.installed"
}
