#!/bin/bash
# Measures the built programs and prints Markdown. Arguments go to the program: bench.sh --help. See bench/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
bench=artifacts/bin/Volant.Bench/release/Volant.Bench.dll
workload=artifacts/publish/Volant.TestWorkload/release_linux-x64/test-workload
stand_in=artifacts/publish/Volant.StandIn/release_linux-x64/qemu-stand-in

# Standard output is the report's alone.
{
    scripts/deps.sh build
    scripts/deps.sh run
    scripts/build.sh
    scripts/kernel.sh "$PWD/.cache/kernel"
    [ -x $workload ] || dotnet publish tests/Volant.TestWorkload -c Release -r linux-x64 -v quiet -nologo
    [ -x $stand_in ] || dotnet publish tests/Volant.StandIn -c Release -r linux-x64 -v quiet -nologo
    dotnet build bench/Volant.Bench -c Release -v quiet -nologo
} >&2
exec dotnet $bench "$@"
