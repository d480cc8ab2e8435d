# Two commands are enough for a newcomer: `make up` and `make test`. Both install what they need and are quick the
# second time. Everything lives in .venv; nothing is installed outside it, except Chromium for the browser tests.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
FUZZ := $(VENV)/fuzz
# Arguments for `ansambl up`, for example: make up ARGS="--port 9000"
ARGS ?=
# How many tests run at once. A file's tests stay together, because they share what they start; WORKERS=0 runs one by one.
WORKERS ?= 2
SIDE_BY_SIDE := -n $(WORKERS) --dist loadfile
NO_INDEX := "pip could not install the packages (its reason stands above). It needs a package index: check the network and pip's configuration, and run make again."
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: up test test-engines test-clients test-open-webui test-open-webui-full test-browsers open-webui-pictures test-chaos check lint format types contracts docs docs-check recording screenshots locales lock bench fuzz fuzz-api setup browser sandbox clean help

help: ## What each target does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Ansambl needs Python 3.11 or newer; '$(PYTHON)' is older. Try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "Python's venv module is missing (on Debian and Ubuntu: apt-get install python3-venv)" >&2; exit 1; }

$(RUNTIME): requirements/runtime.txt pyproject.toml | $(BIN)/python
	@echo "Installing what Ansambl needs into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/runtime.txt || { echo $(NO_INDEX) >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements/dev.txt $(RUNTIME)
	@echo "Installing what the tests need into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt || { echo $(NO_INDEX) >&2; exit 1; }
	@touch $@

up: $(RUNTIME) ## Set everything up and start Ansambl on the embedded model (Ctrl-C stops it)
	@exec $(BIN)/ansambl up $(ARGS)

setup: $(DEV) ## The development environment, without running anything

sandbox: $(DEV) ## bubblewrap for the tests that run code: Debian's when root on Debian; without it they are skipped by name
	@$(BIN)/python tools/ensure_sandbox.py

browser: $(DEV) ## Chromium for the browser tests: Debian's when root on Debian, else Playwright's
	@$(BIN)/python tools/ensure_browser.py

test: $(DEV) browser sandbox ## Set everything up and run all tests
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

# What make test-engines installs (about 5 GB), by Ansambl's own command, into a data folder of its own.
ENGINES ?= .build/test-engines

test-engines: $(DEV) ## Install vLLM and Transformers (about 5 GB) and run the tests on the real engines
	@mkdir -p $(ENGINES)
	ANSAMBL_DATA=$(abspath $(ENGINES)) $(BIN)/ansambl engines install vllm --build cpu --yes
	ANSAMBL_DATA=$(abspath $(ENGINES)) $(BIN)/ansambl engines install transformers --build cpu --yes
	ANSAMBL_TEST_ENGINES=$(abspath $(ENGINES)) $(BIN)/python -m pytest tests/engines

# What make test-clients installs (about 280 MB): clients of others, in environments of their own.
CLIENTS := .build/test-clients

$(CLIENTS)/.python-installed: requirements/clients.txt $(DEV)
	@echo "Installing the Python clients into $(CLIENTS) ..."
	@$(BIN)/python -m venv --clear $(CLIENTS)/venv
	@$(CLIENTS)/venv/bin/python -m pip install --quiet --require-hashes -r requirements/clients.txt || { echo $(NO_INDEX) >&2; exit 1; }
	@touch $@

# Without Node.js their tests are skipped, and say so.
$(CLIENTS)/.npm-installed: tests/clients/node/package.json tests/clients/node/package-lock.json $(DEV)
	@mkdir -p $(CLIENTS)/node
	@cp tests/clients/node/package.json tests/clients/node/package-lock.json $(CLIENTS)/node/
	@if command -v npm >/dev/null; then \
	  echo "Installing the npm clients into $(CLIENTS) ..."; \
	  npm ci --prefix $(CLIENTS)/node --no-audit --no-fund --ignore-scripts --loglevel=error && touch $@; \
	else echo "npm is not on this machine: the tests of npm clients are skipped (on Debian and Ubuntu: apt-get install nodejs npm)"; fi

test-clients: $(CLIENTS)/.python-installed $(CLIENTS)/.npm-installed ## Install clients of others (llm, LangChain, npm's) and run them against Ansambl
	ANSAMBL_TEST_CLIENTS=$(abspath $(CLIENTS)) $(BIN)/python -m pytest tests/clients

# What make test-open-webui installs (slim: about 830 MB, full: about 2.9 GB), by Ansambl's own command, into a data folder
# of its own; the tests are the same for both.
OPEN_WEBUI_BUILD ?= slim
OPEN_WEBUI ?= .build/test-open-webui-$(OPEN_WEBUI_BUILD)

test-open-webui: $(DEV) browser ## Install Open WebUI (slim) and run it beside Ansambl in a real browser
	@mkdir -p $(OPEN_WEBUI)
	ANSAMBL_DATA=$(abspath $(OPEN_WEBUI)) $(BIN)/ansambl open-webui install --build $(OPEN_WEBUI_BUILD) --yes
	ANSAMBL_TEST_OPEN_WEBUI=$(abspath $(OPEN_WEBUI)) $(BIN)/python -m pytest tests/open_webui

test-open-webui-full: ## The same with the full build, which `ansambl up --open-webui` installs (about 2.9 GB)
	$(MAKE) test-open-webui OPEN_WEBUI_BUILD=full

open-webui-pictures: test-open-webui ## Run the above, and take the pictures of its documentation from it
	cp test-output/screenshots/open-webui.png test-output/screenshots/open-webui-picker.png docs/assets/

test-browsers: $(DEV) ## The console in Firefox and WebKit, where this machine has them (Debian: firefox-esr webkit2gtk-driver xvfb)
	$(BIN)/python -m pytest tests/other_browsers

# Ten minutes by default; the seed of a run is printed, and CHAOS_SEED=… does the same again.
CHAOS_SECONDS ?= 600

test-chaos: $(DEV) ## Disturb the running product for ten minutes while clients use it
	CHAOS_SECONDS=$(CHAOS_SECONDS) $(BIN)/python -m pytest -s tests/chaos

check: lint types contracts docs-check browser sandbox ## Lint, types, import contracts, docs, tests
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not quality"

lint: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: $(DEV) ## Format and mend what can be mended by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(DEV)
	$(BIN)/mypy

contracts: $(DEV)
	$(BIN)/lint-imports

docs: $(DEV) ## Write the reference pages anew, from the code and from what commands print
	$(BIN)/python tools/generate_reference.py
	$(BIN)/python tools/compatibility_page.py
	$(BIN)/python tools/plan_pages.py

docs-check: $(DEV)
	$(BIN)/python tools/generate_reference.py --check
	$(BIN)/python tools/compatibility_page.py --check
	$(BIN)/python tools/plan_pages.py --check

recording: $(RUNTIME) ## Record the terminal of the README anew, from a real run
	$(BIN)/python tools/record_terminal.py

locales: $(DEV) ## Collect sentences for translation and compile the catalogs
	$(BIN)/python tools/locales.py

bench: $(DEV) browser ## Every figure that the README quotes, beside its reference
	$(BIN)/python benchmarks/role_switch.py
	$(BIN)/python benchmarks/council.py
	$(BIN)/python benchmarks/swap.py
	$(BIN)/python benchmarks/simulation.py
	$(BIN)/python benchmarks/routing.py
	$(BIN)/python benchmarks/gateway_overhead.py
	$(BIN)/python benchmarks/knowledge.py --peer
	$(BIN)/python benchmarks/console.py
	$(BIN)/python benchmarks/planner_accuracy.py
	$(BIN)/python benchmarks/plan_time.py

screenshots: $(DEV) browser ## Take the README's pictures of the console from a real run
	$(BIN)/python tools/screenshots.py

$(FUZZ)/.installed: requirements/fuzz.txt $(RUNTIME)
	@echo "Installing the fuzzer into $(FUZZ) ..."
	@$(BIN)/python -m venv $(FUZZ)
	@$(FUZZ)/bin/python -m pip install --quiet --require-hashes -r requirements/fuzz.txt || { echo $(NO_INDEX) >&2; exit 1; }
	@touch $@

fuzz: $(FUZZ)/.installed ## Fuzz the readers of model and machine files, FUZZ_SECONDS (60) each
	@packages=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
	export PYTHONPATH="src:$$packages" && \
	for harness in fuzz/fuzz_*.py; do \
	  echo "$$harness"; $(FUZZ)/bin/python $$harness || exit 1; \
	done && $(FUZZ)/bin/python fuzz/replay.py

# Half of them for each of the two OpenAPI documents.
API_SECONDS ?= 600

fuzz-api: $(DEV) ## Requests made up from our OpenAPI documents, good and bad, API_SECONDS (600) long
	$(BIN)/python tests/support/api_stage.py $(API_SECONDS)

lock: ## Resolve the dependencies anew (needs uv)
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -q \
	  pyproject.toml --extra knowledge --group build -o requirements/runtime.txt
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -q \
	  pyproject.toml --all-extras --group dev -c requirements/runtime.txt -o requirements/dev.txt
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -q \
	  requirements/clients.in -o requirements/clients.txt

clean: ## Remove the environment and caches (never your data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis test-output
