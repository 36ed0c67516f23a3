#!/bin/sh
# Molecule's dependency: the collection, where Ansible looks for it. tests/run has laid it out already, as it was when the run began.
set -eu
[ -z "${HOMELAB_TEST_RUN:-}" ] || exit 0
exec python3 -B "$(dirname "$0")/../../tests/gates/tree.py"
