#!/usr/bin/env bash
# What makes a remote host for tests on this machine: sshd in a network of its own, a clock that is off, and login
# shells of other kinds. Starts nothing (where there is systemd, Debian's package has it start sshd). Says nothing when
# nothing is missing.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

has() { PATH=$PATH:$system_programs command -v "$1" >/dev/null; }

wanted=()
has sshd || wanted+=(openssh-server)
has ssh && has ssh-keygen || wanted+=(openssh-client)
has ip || wanted+=(iproute2)
has rsync || wanted+=(rsync)
has tcsh || wanted+=(tcsh)
has fish || wanted+=(fish)
compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || wanted+=(libfaketime)
has faketime || wanted+=(faketime)

[ ${#wanted[@]} -gt 0 ] || exit 0
on_debian || die "missing: ${wanted[*]}. Install them with this system's package manager, then try again."
install_packages "${wanted[@]}"
has sshd || die "openssh-server was installed, and there is no sshd."
