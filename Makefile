# The entry for people and for CI.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

LISTEN ?= 127.0.0.1:8080
FUZZ_SECONDS ?= 60

say = @printf '\n== %s\n' '$(1)'
need = @command -v $(1) >/dev/null || { echo '$(1) is missing: $(2)' >&2; exit 1; }
# The fuzzer needs -Z flags, which a stable compiler takes only so. It writes what it finds into the
# first folder it is given: the corpus in the repository stays as it is.
fuzz_run = RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir .
fuzz_limits = -max_total_time=$(FUZZ_SECONDS) -verbosity=0 -print_final_stats=1
# Puts uvx, npx and node on the recipe's PATH, installing them when they are missing.
with_tools = eval "$$(hack/tools env)"

.PHONY: help
help: ## list the targets
	@echo 'usage: make TARGET'
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

# --- use -----------------------------------------------------------------------------------------

.PHONY: run
run: toolchain ## build what is missing and serve examples/mcp.json on 127.0.0.1:8080
	$(call say,building mcp-gateway and mcp-sidecar: some minutes at the first time)
	@cargo build --release --package gateway --package sidecar
	$(call say,serving examples/mcp.json on $(LISTEN))
	@$(with_tools) && exec target/release/mcp-gateway serve --config examples/mcp.json --listen $(LISTEN)

.PHONY: build
build: toolchain ## build the release binaries into target/release
	@cargo build --release --package gateway --package sidecar

# --- check ---------------------------------------------------------------------------------------

.PHONY: test
test: fmt-check lint unit e2e ## everything that CI checks: formatting, lints, unit and end-to-end tests
	$(call say,all of it passed)

.PHONY: fmt fmt-check
fmt: toolchain ## format the code
	@cargo fmt
fmt-check: toolchain
	$(call say,formatting)
	@cargo fmt --check

.PHONY: lint
lint: toolchain ## clippy, warnings are errors
	$(call say,lints)
	@cargo clippy --workspace --all-targets -- --deny warnings

.PHONY: unit
unit: toolchain ## tests without network or programs
	$(call say,unit tests)
	@cargo test --workspace --exclude e2e

.PHONY: e2e
e2e: toolchain ## real servers, our programs, the official clients
	$(call say,end-to-end tests)
	@hack/tools python-clients ts-clients inspector servers
	@cargo build --package gateway --package sidecar --package e2e --bins
	@$(with_tools) && cargo test --package e2e

.PHONY: deny
deny: toolchain ## licences, sources and bans of the dependencies
	@"$$(hack/tools path cargo-deny)/cargo-deny" check --hide-inclusion-graph bans licenses sources

# --- longer, on demand ---------------------------------------------------------------------------

.PHONY: fuzz
fuzz: toolchain ## every fuzz target for FUZZ_SECONDS (60)
	@PATH="$$(hack/tools path cargo-fuzz):$$PATH" && cd mcp/fuzz && \
	for target in $$(cargo fuzz list --fuzz-dir .); do \
	    printf '\n== fuzzing %s\n' "$$target"; \
	    mkdir -p "target/corpus/$$target"; \
	    $(fuzz_run) "$$target" "target/corpus/$$target" "corpus/$$target" -- $(fuzz_limits) || exit; \
	done

.PHONY: soak
soak: toolchain ## the end-to-end tests that run for long
	@hack/tools python-clients ts-clients servers
	@cargo build --release --package gateway --package sidecar --package e2e --bins
	@$(with_tools) && cargo test --release --package e2e -- --ignored --nocapture

.PHONY: bench
bench: toolchain ## measure against direct stdio, a floor and peers
	@hack/tools servers peers
	@cargo build --release --package gateway --package sidecar --package bench
	@$(with_tools) && target/release/bench

.PHONY: generate
generate: toolchain ## write generated files anew: snapshots of the tests
	@INSTA_UPDATE=always cargo test --workspace --exclude e2e

.PHONY: doc
doc: toolchain ## documentation of the code, private items included
	@RUSTDOCFLAGS='--deny warnings' cargo doc --workspace --no-deps --document-private-items

.PHONY: clean-cache
clean-cache: ## remove the tools that hack/tools installed
	@hack/tools clean

.PHONY: toolchain
toolchain:
	$(call need,cargo,install Rust; rust-toolchain.toml names the version)
	$(call need,cc,install a C compiler such as gcc)
