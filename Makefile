# Virga. `make help` says what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || cat VERSION 2>/dev/null || echo unknown)
export CGO_ENABLED ?= 0
export PATH := $(PATH):/usr/local/go/bin:/usr/sbin:/sbin
# one package's tests at a time for each two processors, so that guests of two suites do not starve each other
PARALLEL ?= $(shell n=$$(nproc); echo $$(( n < 2 ? 1 : n > 8 ? 4 : (n + 1) / 2 + 1 )))

.PHONY: help setup build run stop test lab bench lint web gen

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## install the programs that are missing here (Debian, root)
	@./setup.sh

build: ## bin/virga
	@go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/virga ./cmd/virga

run: setup build ## a cloud on this host with a first guest in it
	@./run.sh

stop: ## end everything: VMs, switches, daemon; disks and records stay
	@if [ -x bin/virga ]; then ./bin/virga down --all; else echo 'nothing was built here, so nothing runs'; fi

test: build ## everything that must hold before a change is taken
	@./setup.sh tests
	@go vet ./...
	@go test -count=1 -timeout 20m -p $(PARALLEL) ./...

lab: build ## many hosts as namespaces of this one, real switches and guests, faults
	@./setup.sh tests
	@VIRGA_LAB=full go test -count=1 -timeout 60m -p 1 -v ./lab/...
	@VIRGA_TEST_QEMU=$$(./lab/qemu-backports.sh tools/document.sh) go test -count=1 -timeout 20m -v ./compute/onhost/qemu

bench: setup build ## measure against the same by hand; writes bench.json
	@VIRGA_BINARY=$(CURDIR)/bin/virga go test -count=1 -timeout 3h -run TestTheFiguresAreMeasured ./bench -v -args -measure $(CURDIR)/bench.json

lint: ## gofmt, go vet, the rules of the house, shell syntax
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "not formatted (gofmt -w): $$unformatted"; exit 1; }
	@go vet ./...
	@go test -count=1 ./house
	@bash -n setup.sh run.sh .ci/run lab/qemu-backports.sh tools/document.sh

web: ## web/dist, the console, which is checked in; needs Node.js 20.19 or newer
	@cd web && npm ci --ignore-scripts --no-audit --no-fund && npm run --silent build
	@go test -count=1 ./web -run TestTheBuiltConsoleIsOfTheseSources -update

gen: ## what is generated and checked in: docs/api, client
	@go generate ./...
