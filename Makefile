.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
# How long each fuzz target runs.
FUZZTIME ?= 60s
# How long one package's tests may take. This ends a test that hangs: machines differ, and no test is held to a time.
TEST_TIMEOUT ?= 60m
# How long each space is searched.
EXPLORE ?= 5m
# Drills start whole servers and workers: they do not share the cores with other packages.
DRILLS = ./cmd/refundworker/drills

.PHONY: help
help: ## show this text
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

.PHONY: run
run: ## play sample refunds of every provider with embedded servers and simulated providers
	$(GO) run ./cmd/refundworker demo

.PHONY: build
build: ## build bin/refundworker
	$(GO) build -trimpath -ldflags "-X main.buildVersion=$(VERSION)" -o bin/refundworker ./cmd/refundworker

.PHONY: test
test: needs ## run every test with the race detector, against a real redis-server too
	$(GO) build -C .tools -o ../bin/gotestsum gotest.tools/gotestsum
	@failed=0; run=(bin/gotestsum --format pkgname --hide-summary skipped --jsonfile-timing-events bin/test.json); \
	: > bin/tests.json; \
	for packages in "-parallel=8 $$($(GO) list ./... | grep -v '/drills$$' | xargs)" $(DRILLS); do \
	  "$${run[@]}" -- -race -count=1 -timeout $(TEST_TIMEOUT) $$packages || failed=1; \
	  cat bin/test.json >> bin/tests.json; \
	done; \
	echo "The slowest ten:"; \
	bin/gotestsum tool slowest --jsonfile bin/tests.json --num 10; \
	exit $$failed

.PHONY: test-long
test-long: needs ## run what takes too long for every change: longer freezes, more records, more rounds, a NATS of three servers
	$(GO) test -race -count=1 -tags long -timeout 60m -run '^TestLong' -v ./...
	$(GO) test -race -count=1 -timeout 60m -run 'Machine' -rapid.checks 500 ./idempotency
	$(GO) test -race -count=1 -timeout 60m -parallel 4 $(DRILLS) -servers 3

.PHONY: explore
explore: ## search every interleaving of the protocol, for EXPLORE each space (some 5 minutes each by default)
	$(GO) test -count=1 -timeout 12h -run '^TestExplore' -v ./consumer/refund/explore -explore.limit $(EXPLORE) -explore.whole

.PHONY: mutate
mutate: ## drop the protocol's rules from the source, one at a time: the search must find what goes wrong
	$(GO) test -count=1 -timeout 12h -tags mutate -run '^TestMutations' -v ./consumer/refund/explore -explore.limit 60s

.PHONY: interop
interop: needs-interop ## check against GnuPG and the official Craftgate client (installs gnupg, nodejs)
	$(GO) test -count=1 -tags interop -run '^TestInterop' ./...

.PHONY: check
check: ## check form, vet, staticcheck, go.mod and the import floors
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not gofmt'ed:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags long ./...
	$(GO) vet -tags interop ./...
	$(GO) vet -tags mutate ./...
	$(GO) build -C .tools -o ../bin/staticcheck honnef.co/go/tools/cmd/staticcheck
	bin/staticcheck -tags long,interop,mutate ./...
	$(GO) mod tidy -diff
	$(GO) test -count=1 -run '^TestArch' ./cmd/refundworker

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME
	@for package in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
	    echo "$$package $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package; \
	  done; \
	done

# Installs the Debian packages in the shell's array "missing", or says what $(1) needs. Services are not started.
define install
	if [ $${#missing[@]} -eq 0 ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	  echo "$(1) needs: $${missing[*]}. Install them first, for example: sudo apt-get install $${missing[*]}$(2)" >&2; \
	  exit 1; \
	fi; \
	apt-get update </dev/null; \
	RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$${missing[@]}" </dev/null
endef

# The race detector needs a C compiler, and some tests a real Redis.
.PHONY: needs
needs:
	@missing=(); \
	command -v redis-server >/dev/null || missing+=(redis-server); \
	command -v cc >/dev/null || command -v gcc >/dev/null || missing+=(gcc libc6-dev); \
	$(call install,make test, (Redis 7.0 or newer; without root put a redis-server built from source on PATH))

.PHONY: needs-interop
needs-interop:
	@missing=(); \
	command -v gpg >/dev/null || missing+=(gnupg); \
	command -v npm >/dev/null || missing+=(nodejs npm); \
	$(call install,make interop)
