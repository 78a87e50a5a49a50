# Every target prepares what it needs first, says what it installs before it does, and says nothing when all is there.
# Nothing outside this checkout is touched but Debian packages, /nix, and pikaci's own cache and state directories.

export PATH := $(CURDIR)/.venv/bin:$(PATH)
.DEFAULT_GOAL := help
.PHONY: help run forge incus test unit lint types schemas lock clean env env-dev env-forge env-incus env-ssh

help: ## Show this help
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do \
	  printf 'make %-8s %s\n' "$$name" "$$text"; done

run: env ## Run the hello target
	@pikaci run hello
	@echo
	@echo "next:  . .venv/bin/activate    then  pikaci logs latest    pikaci status latest    pikaci --help"

forge: ## Start a forge with a repository to push to, and say how to reach it
	@ci/bootstrap/packages.sh
	@ci/bootstrap/python.sh forge
	@ci/bootstrap/nix.sh
	@exec pika-git demo

incus: env ## Set up Incus with a guest image, for jobs that have guests
	@ci/bootstrap/incus.sh
	@echo "next:  . .venv/bin/activate    then  pikaci run hello-guest"

test: env-dev env-forge env-incus env-ssh ## Run all of the project's own lanes through pikaci, or LANES="check-nix ..."
	@ci/bootstrap/test.sh

unit: env-dev env-forge env-incus env-ssh ## Run the tests directly, without pikaci around them
	@pytest

lint: env-dev ## Check style, formatting and the rules of the architecture
	@ruff check && ruff format --check && python invariants/check.py

types: env-dev ## Check types
	@mypy

schemas: env ## Write the JSON schemas again
	@python -m pikaci.schemas schema

lock: env-dev ## Lock the Python dependencies again; UPGRADE=1 takes newer versions
	@ci/bootstrap/lock.sh $(if $(UPGRADE),--upgrade)

clean: ## Remove what was made in this checkout
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis result result-*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

env: # what running needs
	@ci/bootstrap/packages.sh
	@ci/bootstrap/python.sh run
	@ci/bootstrap/nix.sh

env-dev: # what working on it needs
	@ci/bootstrap/packages.sh dev
	@ci/bootstrap/python.sh dev
	@ci/bootstrap/minimum.sh & minimum=$$!; ci/bootstrap/nix.sh; nix=$$?; wait $$minimum && exit $$nix

env-forge: env-dev # what tests of the forge need
	@ci/bootstrap/forge-packages.sh

env-incus: # what tests with a real Incus need
	@ci/bootstrap/incus-packages.sh

env-ssh: # what tests with remote hosts need
	@ci/bootstrap/ssh-packages.sh
