#!/usr/bin/env bash
# Makes the images of the test cluster as archives, without a registry: image.sh debian|pause|coredns|weft
set -euo pipefail
# shellcheck source=test/cluster/common.sh
. "$(dirname "$0")/common.sh"
store=(--root "$root/build/kube/containers" --runroot "$root/build/kube/containers-run" --storage-driver overlay)
build() { buildah "${store[@]}" "$@"; }
mkdir -p "$images"

save() { # NAME FILE
  rm -f "$images/$2.tar"
  build push --quiet "$1" "oci-archive:$images/$2.tar:$1"
}

single() { # PROGRAM: an image of one static program
  local container
  container=$(build from scratch)
  build copy --quiet "$container" "$root/build/kube/$1" "/$1" > /dev/null
  build config --entrypoint "[\"/$1\"]" --cmd '' "$container"
  build commit --quiet --rm "$container" "test.local/$1:1" > /dev/null
  save "test.local/$1:1" "$1"
}

case $1 in
  debian)
    # What `debian:12-slim` is, made here: no documentation, no caches.
    if [ ! -e "$root/build/kube/debian/etc/debian_version" ]; then
      debootstrap --variant=minbase --include=ca-certificates bookworm "$root/build/kube/debian" http://deb.debian.org/debian > /dev/null
    fi
    container=$(build from scratch)
    tar --directory "$root/build/kube/debian" --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' \
      --exclude='./usr/share/info/*' --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' --create . > "$root/build/kube/debian.tar"
    build add --quiet "$container" "$root/build/kube/debian.tar" / > /dev/null
    build commit --quiet --rm "$container" localhost/debian:12-slim > /dev/null
    ;;
  weft)
    # The Dockerfile's second half on what has been built here, which is what its first half builds.
    context=$(mktemp -d)
    trap 'rm -rf "$context"' EXIT
    mkdir -p "$context/build/Release" "$context/proto"
    cp "$root/build/Release/weft.node" "$context/build/Release/"
    cp -r "$root/proto/gen" "$context/proto/gen"
    cp -r "$root"/{package.json,package-lock.json,LICENSE,lib,agent,waypoint,control,cli,deploy,playground} "$context/"
    cp -r "$root/node_modules" "$context/node_modules"
    (cd "$context" && PATH=$root/node_modules/.bin:$PATH npm prune --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error > /dev/null &&
      cd node_modules/.bin && ln -sf ../node-linux-*/bin/node node && rm -rf ../node-linux-*/{include,share})
    sed -e '/^# ---- build/,/^# ---- runtime/d' -e 's#COPY --from=build /weft/#COPY #' "$root/Dockerfile" > "$context/Dockerfile"
    build bud --quiet --isolation chroot --build-arg BUILD_IMAGE=localhost/debian:12-slim --build-arg DEBIAN_IMAGE=localhost/debian:12-slim --tag docker.io/library/weft:test "$context" > /dev/null
    save docker.io/library/weft:test weft
    ;;
  *) single "$1" ;;
esac
