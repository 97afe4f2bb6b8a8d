# The entry for people and for CI: `make help`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

LISTEN ?= 127.0.0.1:8080
FUZZ_SECONDS ?= 60
SIM_SEEDS ?= 10000

target := $(or $(CARGO_TARGET_DIR),target)
# BIN=FOLDER runs programs that were built before.
programs := $(or $(BIN),$(target)/release)

# Programs are static: the sidecar is put into other people's images, and all take less memory so. Only a build that names
# its target has flags that do not reach the macros of the build itself.
host = $(shell rustc --version --verbose | sed -n 's/^host: //p')
release = cargo build --release --target $(host) --config 'target.$(host).rustflags=["-Ctarget-feature=+crt-static"]'
shipped := gateway sidecar operator
install_release = mkdir -p $(target)/release && \
	find $(target)/$(host)/release -maxdepth 1 -type f -executable -exec ln -f {} $(target)/release/ \;

say = @printf '\n== %s\n' '$(1)'
need = @command -v $(1) >/dev/null || { echo '$(1) is missing: $(2)' >&2; exit 1; }
# Puts uvx, npx and node on the recipe's PATH, installing them when they are missing.
with_tools = tools=$$(hack/tools env) && eval "$$tools"

# Every call of cargo selects the whole workspace: what is selected decides the features of dependencies, and other
# features mean to build them again.
cargo_test = cargo test --workspace --no-fail-fast
tests = $(foreach file,$(1),--test $(basename $(notdir $(file))))
matrix := e2e/tests/sdk.rs
documents := e2e/tests/readme.rs
chart := $(wildcard e2e/tests/chart*.rs)
# Those that need another cluster, and those that change the release: they run after the others, each alone.
scale := e2e/tests/cluster_scale.rs
nodes := e2e/tests/cluster_nodes.rs
alone := e2e/tests/cluster_rbac.rs e2e/tests/cluster_chart.rs
clusters := $(wildcard e2e/tests/cluster*.rs)
on_cluster := $(filter-out $(scale) $(nodes) $(alone),$(clusters))
e2e := $(filter-out $(matrix) $(documents) $(chart) $(clusters),$(wildcard e2e/tests/*.rs))
integration := $(filter-out e2e/%,$(wildcard */tests/*.rs))

# The fuzzer needs -Z flags, which a stable compiler takes only so. It writes what it finds into the
# first folder it is given: the corpus in the repository stays as it is.
fuzz_run = RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir .
fuzz_limits = -max_total_time=$(FUZZ_SECONDS) -verbosity=0 -print_final_stats=1

.PHONY: help
help: ## list the targets
	@echo 'usage: make TARGET'
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

# --- use -----------------------------------------------------------------------------------------

.PHONY: run
run: $(if $(BIN),,build) ## build what is missing and serve examples/mcp.json on 127.0.0.1:8080 (LISTEN=ADDR)
	$(call say,serving examples/mcp.json on $(LISTEN); Ctrl-C ends it)
	@$(with_tools) && exec $(programs)/mcp-gateway serve --config examples/mcp.json --listen $(LISTEN)

.PHONY: build
build: toolchain ## build the release binaries into target/release
	$(call say,building the programs: some minutes at the first time)
	@$(release) $(addprefix --package ,$(shipped))
	@$(install_release)

# --- check ---------------------------------------------------------------------------------------

stages := fmt-check lint compile unit chart e2e sdk readme cluster-test

# A stage that fails does not keep the next from telling what it finds, unless nothing compiles.
.PHONY: test
test: toolchain ## everything that CI checks, stage by stage (CLUSTER=none: without Kubernetes)
	@times='' failed=''; \
	for stage in $(stages); do \
	    start=$$SECONDS verdict=passed; \
	    $(MAKE) $$stage || { verdict=FAILED; failed+=" $$stage"; }; \
	    times+=$$(printf '%-12s %-6s %5d s' $$stage $$verdict $$((SECONDS - start)))$$'\n'; \
	    if [[ $$stage$$verdict == compileFAILED ]]; then break; fi; \
	done; \
	printf '\n== stages\n%s' "$$times"; \
	if [[ $$failed ]]; then echo "failed:$$failed" >&2; exit 1; fi

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

.PHONY: compile compiled
compile: ## build the programs and all tests
	$(call say,building the programs and their tests: some minutes at the first time)
	@$(MAKE) compiled
compiled: toolchain
	@cargo build --workspace --all-targets

.PHONY: unit
unit: compiled ## tests that need no other program: units, properties, simulations, the fuzzers' corpora
	$(call say,unit tests)
	@$(cargo_test) --lib --bins $(call tests,$(integration))
	@$(cargo_test) --doc

.PHONY: chart
chart: compiled ## the chart, rendered: rights, pods, values; needs Go for Helm, two minutes at the first time
	$(call say,the chart)
	@hack/tools helm
	@$(cargo_test) $(call tests,$(chart))

.PHONY: e2e
e2e: compiled ## our programs in front of a server that misbehaves on request
	$(call say,end-to-end tests)
	@hack/tools conformance
	@$(with_tools) && $(cargo_test) $(call tests,$(e2e))

.PHONY: sdk
sdk: compiled ## every client with every server: official SDKs, real servers; compares docs/compatibility.md
	$(call say,every client with every server; the first time they and their servers are fetched)
	@hack/tools uv node python-clients ts-clients inspector
	@$(cargo_test) $(call tests,$(matrix))

.PHONY: compatibility
compatibility: compiled ## every client with every server, and docs/compatibility.md written anew of what is found
	@hack/tools uv node python-clients ts-clients inspector
	@COMPATIBILITY=write $(cargo_test) $(call tests,$(matrix)) -- every_client

.PHONY: readme
readme: compiled ## what the documents say: commands, examples, addresses, the map of the code
	$(call say,the documents)
	@hack/tools uv node
	@$(cargo_test) $(call tests,$(documents))

.PHONY: cluster-test
cluster-test: compiled ## servers on a real Kubernetes, by the charts (CLUSTER=own|current|kind|none): 40 minutes at the first time
	$(call say,servers on a real Kubernetes)
	@# Not $$(MAKE): a recipe that has it is run by `make --dry-run` too.
	@case "$${CLUSTER:-own}" in \
	none) echo 'CLUSTER=none: nothing is tested here' ;; \
	own) failed=0; hack/on-cluster -- make --keep-going on-cluster || failed=1; \
	    make --keep-going cluster-nodes cluster-scale || failed=1; exit $$failed ;; \
	*) hack/on-cluster -- make --keep-going on-cluster ;; \
	esac

# Behind hack/on-cluster.
each_alone := $(addprefix on-cluster/,$(basename $(notdir $(alone))))
.PHONY: on-cluster on-cluster/together $(each_alone)
on-cluster: on-cluster/together $(each_alone)
on-cluster/together:
	@$(cargo_test) $(call tests,$(on_cluster))
$(each_alone): on-cluster/%:
	@$(cargo_test) --test $*

.PHONY: cluster-nodes cluster-scale
cluster-nodes: compiled ## a node that is drained, a node that is lost: on a cluster of our own with two
	$(call say,two nodes)
	@NODES=2 CLUSTER_NAME=mcp-nodes hack/on-cluster -- $(cargo_test) $(call tests,$(nodes))
cluster-scale: compiled ## many servers before a control plane without nodes (E2E_FULL=1: a thousand)
	$(call say,many servers)
	@CLUSTER_NAME=mcp-scale hack/on-cluster --control-plane-only -- $(cargo_test) $(call tests,$(scale))

.PHONY: deny
deny: toolchain ## licences, sources and bans of the dependencies
	@"$$(hack/tools path cargo-deny)/cargo-deny" check --hide-inclusion-graph bans licenses sources

# --- cluster -------------------------------------------------------------------------------------

.PHONY: image
image: ## build the images: programs, runner, all in one; prints name and archive of each
	$(call say,building the images: ten minutes at the first time)
	@hack/images project

.PHONY: cluster
cluster: ## a Kubernetes with the charts installed, from this checkout; again after a change
	$(call say,starting a cluster and installing the charts)
	@hack/install

.PHONY: cluster-up cluster-down cluster-smoke
cluster-up: ## a Kubernetes to test with (CLUSTER=own|current|kind): ten minutes at the first time
	$(call say,starting a cluster)
	@hack/cluster up
	@echo "export KUBECONFIG=$$(hack/cluster kubeconfig)"
cluster-down: ## remove what cluster-up made
	@hack/cluster down
cluster-smoke: ## all that a test may ask of the cluster, once: pods, network, registries, nothing left behind
	@hack/cluster smoke

# --- longer, on demand ---------------------------------------------------------------------------

.PHONY: soak
soak: compiled ## the same tests in full size: many sessions, long runs, SIM_SEEDS (10000) simulations
	$(call say,the tests in full size)
	@$(with_tools) && E2E_FULL=1 SIM_SEEDS=$(SIM_SEEDS) $(cargo_test) --lib --bins $(call tests,$(integration) $(e2e))

.PHONY: test-long
test-long: compiled ## what takes long on a cluster, in full size: a thousand servers, an operator killed at each write; sizes of images
	@E2E_FULL=1 $(MAKE) cluster-scale
	@E2E_FULL=1 hack/on-cluster -- $(cargo_test) --test cluster_operator --test cluster_time
	@$(MAKE) image-sizes

# In bytes, of all that is in one: what is pulled is compressed, and less.
image_limit := 25000000
.PHONY: image-sizes
image-sizes: ## whether the images of operator and gateway, as they are released, hold at most 25 MB
	$(call say,sizes of images)
	@hack/images project operator gateway | while read -r target _ archive; do \
	    size=$$(stat --format=%s "$$archive"); \
	    echo "$$target: $$size bytes"; \
	    if ((size > $(image_limit))); then echo "the image of the $$target has more than $(image_limit) bytes" >&2; exit 1; fi; \
	done

.PHONY: fuzz
fuzz: toolchain ## every fuzz target for FUZZ_SECONDS (60)
	@PATH="$$(hack/tools path cargo-fuzz):$$PATH" && cd mcp/fuzz && \
	for target in $$(cargo fuzz list --fuzz-dir .); do \
	    printf '\n== fuzzing %s\n' "$$target"; \
	    mkdir -p "target/corpus/$$target"; \
	    $(fuzz_run) "$$target" "target/corpus/$$target" "corpus/$$target" -- $(fuzz_limits) || exit; \
	done

.PHONY: bench
bench: toolchain ## measure against direct stdio, a floor and peers: an hour, on an idle machine
	@hack/tools peers
	@$(release) $(addprefix --package ,$(shipped) bench)
	@$(install_release)
	@$(with_tools) && $(target)/release/bench all

.PHONY: generate
generate: compiled ## write generated files anew: the McpServer definition and its chart, snapshots of the tests
	@$(target)/debug/crdgen > crds/mcpservers.yaml
	@$(target)/debug/crdgen chart > charts/mcp-gateway-crds/templates/mcpservers.yaml
	@INSTA_UPDATE=always $(cargo_test) --lib --bins

.PHONY: doc
doc: toolchain ## documentation of the code, private items included
	@RUSTDOCFLAGS='--deny warnings' cargo doc --workspace --no-deps --document-private-items

.PHONY: clean-cache
clean-cache: ## remove the tools that hack/tools installed, and images
	@hack/tools clean
	@hack/images clean

.PHONY: toolchain
toolchain:
	$(call need,cargo,install Rust; rust-toolchain.toml names the version)
	$(call need,cc,install a C compiler such as gcc)
