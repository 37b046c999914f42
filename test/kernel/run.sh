#!/usr/bin/env bash
# Boots Debian's cloud kernel under qemu and runs there the self-check of express connections and a load of all programs
# of capture and the direct path. No root needed but for the packages. Nothing of it is part of `make test`.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
work=$root/build/kernel
programs=("$root/build/test/express/self-check" "$root/build/test/capture-agent")
# Seconds; a boot under emulation takes some 20.
patience=300

missing=()
for package in qemu-system-x86 busybox-static cpio; do
  dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" -eq 0 ] || { echo "missing packages: ${missing[*]}; install them as root" >&2; exit 1; }
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

mkdir -p "$work"
cd "$work"
image=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[^ ]*\)$/\1/p' | head -1)
if ! compgen -G "${image}_*.deb" >/dev/null; then
  apt-get download -qq "$image"
fi
rm -rf kernel initramfs
dpkg-deb -x "${image}"_*.deb kernel

mkdir -p initramfs/bin initramfs/lib initramfs/lib64
cp "$(command -v busybox)" initramfs/bin/
cp "$root/test/kernel/init" initramfs/init
chmod +x initramfs/init
for program in "${programs[@]}"; do
  cp "$program" initramfs/bin/
  ldd "$program" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p' | xargs -I{} cp -n {} initramfs/lib/
done
cp /lib64/ld-linux-x86-64.so.2 initramfs/lib64/
(cd initramfs && find . | cpio -o -H newc --quiet) | gzip -1 >initramfs.gz

timeout "$patience" qemu-system-x86_64 -accel tcg -cpu max -m 1024 -smp 2 -nographic -no-reboot \
  -kernel kernel/boot/vmlinuz-* -initrd initramfs.gz -append "console=ttyS0 quiet panic=-1" </dev/null |
  tr -d '\r' | tee console.log
grep -q "^--- end" console.log
# What does not hold is for the agent to find out and to live with; what cannot be run at all is an error.
! grep -q "^error" console.log
