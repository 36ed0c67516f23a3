# Short commands; the work is done by the scripts they name. Each sets up what it needs and is safe to repeat.
.DEFAULT_GOAL := help
.PHONY: help demo demo-down check test test-more test-vm mutants build docs clean

help: ## list what can be made
	@sed -nE 's/^([a-z-]+):.*## (.*)$$/make \1\t\2/p' Makefile | expand -t 18

demo: ## deploy the example on a throw-away machine and leave it running to look at
	@tests/setup
	@.venv/bin/python tests/gates/tree.py
	@tests/as-root tests/demo up

demo-down: ## remove the machine of the demo
	@tests/as-root tests/demo down

check: ## lint and unit tests, in under two minutes
	@tests/setup check
	@tests/run check

test: ## everything that CI runs: check, sanity, docs, build, and the scenarios on throw-away machines
	@tests/setup
	@tests/run

test-more: ## the scenarios that take too long for CI, or run on the next Debian with its newer Podman
	@tests/setup
	@tests/run more

test-vm: ## memory limits, a reboot and a power cut, in a virtual machine: minutes with KVM, over an hour without
	@tests/setup vm
	@tests/run molecule/vm

mutants: ## damage the product in every way that tests/mutants knows, and tell what no test notices
	@tests/setup
	@tests/mutate

build: ## the collection's tarball, in dist/
	@tests/setup check
	@mkdir -p dist
	@.venv/bin/ansible-galaxy collection build --force --output-path dist

docs: ## write anew what is generated: the roles' README files from their specs, the table of rights from their lists, CHANGELOG.md from its fragments
	@tests/setup check
	@.venv/bin/python tests/gates/role_specs.py --write
	@.venv/bin/python tests/gates/rights.py --write
	@.venv/bin/python tests/gates/changelog.py --write

clean: ## remove what was made in this checkout: its machines, the tools' environment, caches, tarballs
	@tests/as-root tests/machine/machine destroy --all
	@tests/as-root rm -rf .build .cache .venv dist
