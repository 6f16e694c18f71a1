# repro: the whole pipeline · experiments: what was tried · seeds: the noise of training · report: what a change did · test ·
# lint · bench: how fast · lock: renew the requirements.
# Each makes the virtual environment first; test, lint and bench add the tools, test and bench Ray and OpenVINO.
PYTHON ?= python3
VENV ?= .venv
RUN = PATH="$$(cd "$(VENV)" && pwd)/bin:$$PATH"

.PHONY: repro experiments seeds report test lint bench lock environment tools extras

repro: environment
	@$(RUN) dvc repro
	@$(RUN) PYTHONPATH=src python -m rerank.measure.report --evaluation data/evaluation.json --seeds data/seeds.json
	@echo "plots: $$(ls plots/*/*.png | tr '\n' ' ')"

# Experiment, nDCG@10 and the params that differ, without the hashes of data and code and the other metrics.
EXPERIMENTS = dvc exp show --no-pager --only-changed --keep 'ndcg@10.cross_encoder' \
	--drop 'Created|.*[./]|cold|gain|p$$|validation|rows|users'
experiments: environment
	@$(RUN) $(EXPERIMENTS)

# How far the seed of training alone moves the result: both trainings again a seed, after `make repro`, whose report then
# shows it from data/seeds.json.
SEEDS ?= 1 2
seeds: environment
	@$(RUN) PYTHONPATH=src python -m rerank.measure.seeds --seeds $(SEEDS) --output data/seeds.json

# What the working tree, or the revisions NEW, change against BASE: report/report.md for the pull request and
# report/index.html for the reviewer; the exit code says whether a rule of gate.rules is broken. Nothing runs again.
# REPOSITORY, an address on GitHub: report.md shows the pictures that lie there.
BASE ?= origin/main
report: environment
	@$(RUN) PYTHONPATH=src python -m rerank.review --base "$(BASE)" $(if $(NEW),--new $(NEW)) --report report \
	--scores data/scores/untrained data/scores/bi-encoder data/scores/trained data/scores/fused --split data/split \
	--metrics metrics/test.json metrics/training.json --counts metrics/data.json data/sampled/counts.json \
	--training metrics/training.json --model models/cross-encoder --seeds data/seeds.json --rules gate.rules \
	$(if $(REPOSITORY),--repository "$(REPOSITORY)")

test: tools extras
	@$(RUN) python -m pytest

lint: tools
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy
	@$(RUN) PYTHONPATH=src lint-imports --no-logo

bench: tools extras
	@$(RUN) PYTHONPATH=src python benchmarks/sample.py
	@$(RUN) PYTHONPATH=src python benchmarks/pipeline.py
	@$(RUN) dvc repro --quiet
	@$(RUN) PYTHONPATH=src python benchmarks/models.py
	@$(RUN) PYTHONPATH=src python benchmarks/server.py

COMPILE = pip-compile --quiet --strip-extras --no-header --no-annotate --no-emit-index-url --no-emit-trusted-host \
	--no-emit-find-links pyproject.toml --output-file "$(VENV)/lock.txt"
MADE = \# Made by `make lock` from pyproject.toml: do not edit.
PLAIN = grep -v -e '^\#' -e '^$$' "$(VENV)/lock.txt" | sed 's/+cpu$$//'
MORE = { echo '$(MADE)'; $(PLAIN) | grep -v -x -F -f requirements.txt; }

lock: tools
	@rm -f "$(VENV)/lock.txt"
	@$(RUN) $(COMPILE) --extra dev --extra ray --extra openvino --extra serve --upgrade && $(PLAIN) > "$(VENV)/all.txt"
	@$(RUN) $(COMPILE) --constraint "$(VENV)/all.txt" && { echo '$(MADE)'; $(PLAIN); } > requirements.txt
	@$(RUN) $(COMPILE) --constraint "$(VENV)/all.txt" --extra dev && $(MORE) > requirements-dev.txt
	@$(RUN) $(COMPILE) --constraint "$(VENV)/all.txt" --extra ray --extra openvino --extra serve && $(MORE) > requirements-extras.txt

# A lock's content is compared, not its date, and recorded last: an interrupted installation is taken up again.
# src is put on the path by a .pth file, so that nothing outside the lock is needed to build a package.
environment:
	@cmp -s requirements.txt "$(VENV)/installed.txt" && "$(VENV)/bin/python" -c '' 2>/dev/null || { \
	rm -f "$(VENV)/installed"*.txt && \
	{ "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "error: $(PYTHON) is missing or older than Python 3.11: install one, or name it: make PYTHON=/path/to/python3" >&2; \
	exit 1; }; } && \
	{ "$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
	echo "error: $(PYTHON) has no venv module: install it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }; } && \
	echo "installing requirements.txt into $(VENV): some minutes" && \
	"$(PYTHON)" -m venv "$(VENV)" && \
	"$(VENV)/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.txt && \
	"$(VENV)/bin/python" -c 'import pathlib, sysconfig; \
	pathlib.Path(sysconfig.get_path("purelib"), "rerank.pth").write_text(str(pathlib.Path("src").resolve()) + "\n")' && \
	cp requirements.txt "$(VENV)/installed.txt"; }

tools: environment
	@$(call add,requirements-dev)

# What is not needed to reproduce: Ray, OpenVINO and the server.
extras: environment
	@$(call add,requirements-extras)

define add
cmp -s $(1).txt "$(VENV)/installed-$(1).txt" || { \
	echo "installing $(1).txt into $(VENV)" && \
	"$(VENV)/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.txt -r $(1).txt && \
	cp $(1).txt "$(VENV)/installed-$(1).txt"; }
endef
