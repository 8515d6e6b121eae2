#!/bin/bash
# Writes docs/api-reference/openapi.json from the code. A test fails when the file is not what the code says.
set -euo pipefail
cd "$(dirname "$0")/.."
dotnet run --project src/Volant.OpenApiExport -c Release -- --output "$PWD"/docs/api-reference/openapi.json
