# repro: the whole pipeline · test · bench: how fast · lint · lock: renew the requirements. Each makes the virtual
# environment first; test and bench add the extras.
PYTHON ?= python3
VENV ?= .venv
RUN = PATH="$$(cd "$(VENV)" && pwd)/bin:$$PATH"

.PHONY: repro test bench lint lock environment extras

repro: environment
	@$(RUN) dvc repro
	@$(RUN) PYTHONPATH=src python -m rerank.measure.report metrics/test.json
	@echo "plots: $$(ls plots/*.png | tr '\n' ' ')"

test: extras
	@$(RUN) python -m pytest

bench: extras
	@$(RUN) PYTHONPATH=src python benchmarks/sample.py
	@$(RUN) PYTHONPATH=src python benchmarks/pipeline.py
	@$(RUN) dvc repro --quiet
	@$(RUN) PYTHONPATH=src python benchmarks/models.py

lint: environment
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy

COMPILE = pip-compile --quiet --strip-extras --no-header --no-annotate --no-emit-index-url --no-emit-trusted-host \
	--no-emit-find-links pyproject.toml --extra dev
PLAIN = grep -v -e '^\#' -e '^$$' "$(VENV)/lock.txt" | sed 's/+cpu$$//'
MADE = \# Made by `make lock` from pyproject.toml: do not edit.

lock: environment
	@$(RUN) $(COMPILE) --upgrade --output-file "$(VENV)/lock.txt"
	@{ echo '$(MADE)'; $(PLAIN); } > requirements.txt
	@$(RUN) $(COMPILE) --extra ray --extra openvino --constraint requirements.txt --output-file "$(VENV)/lock.txt"
	@{ echo '$(MADE)'; $(PLAIN) | grep -v -x -F -f requirements.txt; } > requirements-extras.txt

# The lock's content is compared, not its date, and recorded last: an interrupted installation is taken up again.
# src is put on the path by a .pth file, so that nothing outside the lock is needed to build a package.
environment:
	@cmp -s requirements.txt "$(VENV)/installed.txt" && "$(VENV)/bin/python" -c '' 2>/dev/null || { \
	rm -f "$(VENV)/installed.txt" && \
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

# What is not needed to reproduce: Ray and OpenVINO.
extras: environment
	@cmp -s requirements-extras.txt "$(VENV)/installed-extras.txt" || { \
	echo "installing requirements-extras.txt into $(VENV)" && \
	"$(VENV)/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-extras.txt && \
	cp requirements-extras.txt "$(VENV)/installed-extras.txt"; }
