#!/bin/bash
# Boots a Debian root ten times over and checks its data and its file system, and its cloud-init (docs/reliability.md, E01 and E09): minutes. Only as root, on Debian.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/deps.sh test
scripts/build.sh
scripts/kernel.sh "$PWD/.cache/kernel"
scripts/debian-root.sh "$PWD/.cache/debian/root.img"
dotnet build tests/Volant.EndToEnd -c Release -v quiet -nologo
VOLANT_SOAK=1 exec dotnet artifacts/bin/Volant.EndToEnd/release/Volant.EndToEnd.dll --filter-class '*DebianTests' --output Detailed "$@"
