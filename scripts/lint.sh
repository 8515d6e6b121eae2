#!/bin/bash
# Checks what no compiler checks: formatting, scripts, and that the documents name only what exists.
set -euo pipefail
cd "$(dirname "$0")/.."
dotnet format whitespace Volant.slnx --verify-no-changes --no-restore
if command -v shellcheck >/dev/null; then
    shellcheck scripts/*.sh .ci/run
else
    echo "lint: shellcheck is not installed; scripts are not checked"
fi
