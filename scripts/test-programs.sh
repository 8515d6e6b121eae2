#!/bin/bash
# Publishes the programs that tests and measurements run besides ours, to artifacts/publish. What is newer than its sources is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -eq 0 ] || { echo "usage: ${0##*/}" >&2; exit 2; }

publish() {
    local program=artifacts/publish/$1/release_linux-x64/$2
    if [ ! -x "$program" ] || [ -n "$(find "tests/$1" src/Volant.Contracts ./*.props tests/*.props eng -newer "$program" -type f -print -quit)" ]; then
        dotnet publish "tests/$1" -c Release -r linux-x64 -p:RunAnalyzers=false -p:NativeDebugSymbols=false -v quiet -nologo # the solution's build has the analyzers
        touch "$program"
    fi
}

publish Volant.TestWorkload test-workload
publish Volant.StandIn qemu-stand-in
