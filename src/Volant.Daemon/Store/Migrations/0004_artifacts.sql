CREATE TABLE artifacts (
    id            INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    plugin_name   TEXT    NOT NULL REFERENCES plugins (name) ON DELETE CASCADE,
    version       TEXT    NOT NULL,
    artifact_name TEXT    NOT NULL,
    kind          TEXT    NOT NULL,
    source_url    TEXT,
    checksum      TEXT,
    format        TEXT,
    local_path    TEXT,
    size_bytes    INTEGER,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    UNIQUE (plugin_name, version, artifact_name)
) STRICT;
