#!/bin/bash
# Runs the component tests in their full size (docs/reliability.md): hours, not minutes. Arguments go to the test runner.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/deps.sh test
scripts/build.sh
scripts/kernel.sh "$PWD/.cache/kernel"
scripts/test-programs.sh
dotnet build tests/Volant.EndToEnd -c Release -v quiet -nologo
export VOLANT_SOAK=1
dotnet artifacts/bin/Volant.EndToEnd/release/Volant.EndToEnd.dll --filter-class Volant.EndToEnd.HostileWorkloadTests --output Detailed
exec dotnet artifacts/bin/Volant.EndToEnd/release/Volant.EndToEnd.dll --filter-namespace Volant.EndToEnd.Component --output Detailed "$@"
