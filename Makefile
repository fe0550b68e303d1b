# Every target says what it does; `make` alone lists them. Nothing here needs a container engine, an image registry or a download site.

CARGO ?= cargo
# Built with the whole workspace: chosen for one package alone, features of dependencies would build all of these once more.
PROGRAMS = $(or $(CARGO_TARGET_DIR),target)/debug
BED    = $(CARGO) build --quiet --workspace --bins && $(PROGRAMS)/plimsoll-bed
CRD    = crds/plimsoll.dev_productionservices.yaml

.DEFAULT_GOAL := help
.PHONY: help demo test check bed bed-down seeds bench bench-decisions bench-zero-loss crds image requirements

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: requirements ## a real Kubernetes, the operator, a bad version caught and a good one promoted (DEMO_CONTEXT=name DEMO_REGISTRY=host/repo: on your cluster)
	@$(CARGO) build --workspace --bins
	@$(PROGRAMS)/plimsoll-demo

test: requirements ## every test, level by level; the summary says how many ran at each
	@./tests/run.sh

check: requirements ## format, lints, unit tests: no cluster
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test --workspace --lib --bins

bed: requirements ## start a cluster and leave it running; prints the KUBECONFIG to use (NODE=1: with a real node and a registry, needs root; GATEWAY=1: with Contour and Envoy)
	@$(BED) up $(if $(NODE),--node) $(if $(GATEWAY),--gateway)

bed-down: ## take that cluster away
	@$(BED) down

seeds: requirements ## services, versions and faults dealt out by 20 000 seeds, and planted bugs, against the invariants (SEEDS=500000: a million)
	@SEEDS=$(or $(SEEDS),10000) $(CARGO) test --release --test it -- invariants planted --nocapture

bench: requirements ## what deciding, judging and reading metrics cost, as ratios
	$(CARGO) bench --bench decide

bench-decisions: requirements ## plimsoll's judge against the peers' policies on the same requests, and what each of its parts buys: tables and ratios, about 16 minutes
	$(CARGO) bench --bench decisions

bench-zero-loss: requirements ## promotions and rollbacks under load through Contour and Envoy, disturbed in half of the rounds: fails if a request is lost (ROUNDS=20: about an hour; FROM=11: from that round on)
	ROUNDS=$(or $(ROUNDS),20) $(CARGO) test --test node -- routes --nocapture

crds: ## write the generated definition to crds/ and into the chart
	$(CARGO) run --quiet -- crd > $(CRD).new
	mv $(CRD).new $(CRD)
	mkdir -p charts/plimsoll/files
	cp $(CRD) charts/plimsoll/files/crds.yaml

image: requirements ## build the operator's image and push it to $REGISTRY (host/repo), else to the running bed's registry
	$(CARGO) build --locked --workspace --bins
	$(PROGRAMS)/plimsoll-bed image $(if $(REGISTRY),$(REGISTRY)/)plimsoll:$(or $(TAG),dev) --program $(PROGRAMS)/plimsoll=/plimsoll --entrypoint /plimsoll --user 65532:65532

requirements:
	@./tests/requirements.sh
