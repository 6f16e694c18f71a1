# repro: the whole pipeline · test · lint · lock: renew requirements.txt. Each makes the virtual environment first.
PYTHON ?= python3
VENV ?= .venv
RUN = PATH="$$(cd "$(VENV)" && pwd)/bin:$$PATH"

.PHONY: repro test lint lock environment

repro: environment
	@$(RUN) dvc repro
	@$(RUN) PYTHONPATH=src python -m rerank.report metrics/test.json
	@echo "plots: $$(ls plots/*.png | tr '\n' ' ')"

test: environment
	@$(RUN) python -m pytest

lint: environment
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy

lock: environment
	@$(RUN) pip-compile --quiet --upgrade --strip-extras --extra dev --no-header --no-annotate --no-emit-index-url \
	--no-emit-trusted-host --no-emit-find-links --output-file "$(VENV)/lock.txt" pyproject.toml
	@{ echo '# Made by `make lock` from pyproject.toml: do not edit.'; \
	grep -v -e '^#' -e '^$$' "$(VENV)/lock.txt" | sed 's/+cpu$$//'; } > requirements.txt

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
