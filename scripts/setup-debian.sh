#!/usr/bin/env bash
# Installs what building, testing and the demo need on Debian 12; with `cluster`, what `make cluster-up` needs as well; with `arm64`,
# what `make addon-arm64` needs beside them. Does nothing when all of it is there.
set -euo pipefail

packages=(
  # build
  build-essential python3 clang-19 clang-format-19 llvm-19 libclang-rt-19-dev bpftool libbpf-dev libelf-dev zlib1g-dev
  libssl-dev libnghttp2-dev libre2-dev nlohmann-json3-dev libgtest-dev cmake ninja-build protobuf-compiler libprotobuf-dev shellcheck
  # playground
  iproute2 nftables util-linux procps ca-certificates
  # peers and load in the tests
  iperf3 wrk nghttp2-client haproxy python3-venv curl ethtool postgresql
  # runtimes whose HTTP stacks the express tests use
  nginx-light nghttp2-server golang-go default-jdk-headless
)
case ${1:-} in
  cluster) packages+=(containerd runc containernetworking-plugins conntrack buildah debootstrap openssl) ;;
  # Only compilers, so that the image's build does not get test programs.
  arm64) packages=(g++-aarch64-linux-gnu mmdebstrap) ;;
  arm64-test) packages=(qemu-user-static) ;;
esac

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
command -v npm >/dev/null || missing+=(npm)
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
  echo "missing packages: ${missing[*]}; run as root (sudo make setup) to install them" >&2
  exit 1
fi
# The tests start databases of their own; a server that comes up with the package is nothing they may leave behind,
if [ ! -e /etc/postgresql-common ]; then
  mkdir -p /etc/postgresql-common/createcluster.d
  echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/weft.conf
fi
# nor may any other service come up.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}"
