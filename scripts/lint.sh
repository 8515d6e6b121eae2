#!/bin/bash
# Checks what the build does not: white space in every file, and the scripts.
set -euo pipefail
cd "$(dirname "$0")/.."
DOTNET_TieredCompilation=0 dotnet format whitespace Volant.slnx --verify-no-changes --no-restore
if command -v shellcheck >/dev/null; then
    shellcheck scripts/*.sh tests/*/*.sh .ci/run
else
    echo "lint: shellcheck is not installed; scripts are not checked"
fi
