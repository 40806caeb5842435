# Two commands for a newcomer: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PIP    := $(BIN)/python -m pip --disable-pip-version-check -q
LABEL_STUDIO := .venv-label-studio
EDITOR := labeling/editor
EDITOR_SOURCES = $(shell find $(EDITOR)/src $(EDITOR)/test $(EDITOR)/*.html $(EDITOR)/*.ts $(EDITOR)/*.json -type f)

.DEFAULT_GOAL := help
.PHONY: help setup demo label-demo dev serve test check format bench bench-faults peers oracle editor editor-test label-studio servers clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(READY) ## Make the virtual environment with the locked packages

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "setting up $(VENV) (a few minutes the first time)"
	@$(PYTHON) -m venv $(VENV) || { echo "install the venv module: apt-get install python3-venv"; exit 1; }
	@$(PIP) install -c constraints.txt --upgrade pip setuptools wheel
	@$(PIP) install -c constraints.txt --no-build-isolation -e '.[train,las,odometry,packets,dev]'
	@touch $@

demo: $(READY) ## One turn of the loop on a generated fleet; DATA=path runs it on your recordings
	@$(BIN)/starloop demo $(if $(DATA),--data "$(DATA)")

label-demo: $(READY) editor label-studio ## S3, Label Studio and the 3D editor with clips to label; DATA=path takes your recordings
	@$(BIN)/starloop label demo $(if $(DATA),--data "$(DATA)")

dev: $(READY) ## Dagster's web pages and daemon on 127.0.0.1:3000, sensors running
	@$(BIN)/starloop dev

serve: $(READY) ## The champion behind an HTTP endpoint on 127.0.0.1:8008
	@$(BIN)/starloop serve

check: oracle ## Format, lint, types, import contracts, fast unit tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/pytest -q -n 2

test: editor editor-test check ## Everything: checks, unit, slow, integration and end-to-end tests
	@$(BIN)/pytest -q -n 2 --dist loadfile -m "slow or integration or e2e"

format: $(READY) ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

oracle: $(VENV)/.oracle ## Official devkits and clients that tests compare with

$(VENV)/.oracle: $(READY)
	@$(PIP) install -c constraints.txt -e '.[oracle,kuberay,rerun]' --no-build-isolation
	@$(PIP) install -c constraints.txt --no-deps nuscenes-devkit==1.2.0 vcd==6.0.3 av2==0.3.6
	@$(PIP) install --no-deps --upgrade --target $(VENV)/oracles av2==0.2.1
	@touch $@

peers: $(VENV)/.peers ## The libraries that benchmarks and some tests compare with (1.4 GB)

$(VENV)/.peers: $(VENV)/.oracle
	@$(PIP) install -c constraints.txt -e '.[bench]' --no-build-isolation
	@touch $@

bench: peers ## Print our figures beside named peers', measured interleaved in this run
	@$(BIN)/python -m benchmarks

editor: $(EDITOR)/dist/index.html ## The page that labels in 3D, built into labeling/editor/dist

editor-test: $(EDITOR)/node_modules/.tested ## Format, lint, types and tests of that page

$(EDITOR)/node_modules/.ready: $(EDITOR)/package.json $(EDITOR)/package-lock.json $(EDITOR)/.npmrc | $(READY)
	@$(BIN)/python $(EDITOR)/npm.py ci --silent
	@touch $@

$(EDITOR)/dist/index.html: $(EDITOR)/node_modules/.ready $(EDITOR_SOURCES)
	@$(BIN)/python $(EDITOR)/npm.py run --silent build -- --logLevel warn
	@touch $@

$(EDITOR)/node_modules/.tested: $(EDITOR)/node_modules/.ready $(EDITOR_SOURCES)
	@$(BIN)/python $(EDITOR)/npm.py run --silent lint
	@$(BIN)/python $(EDITOR)/npm.py run --silent types
	@$(BIN)/python $(EDITOR)/npm.py run --silent test
	@touch $@

bench-faults: $(READY) ## Our supervisor and torchrun under the same faults (10 minutes, quiet machine)
	@$(BIN)/python -m benchmarks.faults

label-studio: $(LABEL_STUDIO)/.ready ## A real Label Studio server, in an environment of its own

$(LABEL_STUDIO)/.ready:
	@$(PYTHON) -m venv $(LABEL_STUDIO)
	@$(LABEL_STUDIO)/bin/python -m pip --disable-pip-version-check -q install -c deploy/label-studio-constraints.txt label-studio==1.23.2
	@touch $@

servers: label-studio ## What the integration tests talk to: Ceph's S3 gateway, Chromium, Label Studio (root)
	@apt-get update -qq
	@DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends radosgw ceph-mon ceph-osd ceph-common chromium libusb-1.0-0

clean: ## Remove environments and the demo's data
	rm -rf $(VENV) $(LABEL_STUDIO) .starloop $(EDITOR)/node_modules $(EDITOR)/dist
