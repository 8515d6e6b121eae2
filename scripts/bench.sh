#!/bin/bash
# Measures the built programs and prints Markdown. Arguments go to the program: bench.sh --help. See bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
bench=artifacts/bin/Volant.Bench/release/Volant.Bench.dll

# Standard output is the report's alone.
{
    scripts/deps.sh build
    scripts/deps.sh run
    scripts/build.sh
    scripts/kernel.sh "$PWD/.cache/kernel"
    scripts/test-programs.sh
    dotnet build bench/Volant.Bench -c Release -v quiet -nologo
} >&2
exec dotnet $bench "$@"
