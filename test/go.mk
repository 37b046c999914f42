# A Go for what tests have from the Go module proxy. ROOT is set by whoever includes this.
export GOFLAGS := -trimpath -buildvcs=false
export CGO_ENABLED := 0

# Debian 12 has a Go that is too old, and any Go can fetch another one as a module. Modules have no file modes.
GO_VERSION := 1.26.8
GO := $(ROOT)/build/go/bin/go
GO_PROGRAMS = bin/* pkg/tool/*/*
$(GO):
	mkdir -p $(@D)
	cd $(@D) && GOFLAGS=-mod=mod go mod download -json \
	  golang.org/toolchain@v0.0.1-go$(GO_VERSION).$$(go env GOOS)-$$(go env GOARCH) > toolchain.json
	rm -rf $(ROOT)/build/go/root
	cp -r "$$(sed -n 's/.*"Dir": "\(.*\)".*/\1/p' $(@D)/toolchain.json)" $(ROOT)/build/go/root
	cd $(ROOT)/build/go/root && chmod -R u+w . && chmod +x $(GO_PROGRAMS)
	ln -sf ../root/bin/go $@
