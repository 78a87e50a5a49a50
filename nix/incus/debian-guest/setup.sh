# Run by sh in the guest's tree as soon as its packages are there.
useradd --uid 1000 --gid users --create-home --shell /bin/bash --comment 'Runs jobs' pikaci
mkdir -p /artifacts /nix /staged /workspace/snapshot /etc/pikaci
echo '{}' > /etc/pikaci/environment.json
echo pikaci > /etc/hostname
printf '127.0.0.1 localhost\n::1 localhost\n' > /etc/hosts
: > /etc/resolv.conf
chmod 644 /etc/resolv.conf
chmod 755 /sbin/init
# The way to the network of the machine that made the image is its own business.
rm -rf /etc/apt/apt.conf.d/99mmdebstrap /var/log/* /var/cache/debconf/*-old
# Comes with the runner.
rm -rf /run
