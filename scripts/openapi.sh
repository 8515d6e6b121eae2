#!/bin/bash
# Writes docs/api-reference/openapi.json and docs/schemas/*.json from the code. A test fails when a file is not what the code says.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p docs/api-reference docs/schemas
dotnet build src/Volant.OpenApiExport -c Release -v quiet -nologo
export_document() { dotnet artifacts/bin/Volant.OpenApiExport/release/openapi-export.dll "$@"; }
export_document --output docs/api-reference/openapi.json
export_document --manifest-schema --output docs/schemas/plugin-manifest-v1.json
dotnet build src/Volant.Fledge -c Release -v quiet -nologo
dotnet artifacts/bin/Volant.Fledge/release/fledge.dll schema >docs/schemas/fledge-v1.json
