#!/usr/bin/env bash
# Writes scripts/requirements.lock anew: everything that running, testing and building peerd needs, with the
# hashes of every wheel and for every supported platform and Python. Needs `uv` on the PATH.
# With arguments: they are passed on, for instance `scripts/lock.sh --upgrade` or `--upgrade-package trio`;
# without, versions that still fit stay as they are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

uv pip compile pyproject.toml --group dev --extra qr \
    --universal --python-version 3.11 --generate-hashes --no-build \
    --no-header --no-emit-index-url --no-emit-find-links --no-config \
    --output-file scripts/requirements.lock --quiet "$@"
