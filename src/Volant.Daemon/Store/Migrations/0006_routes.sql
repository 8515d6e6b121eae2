-- Published ports: a port of the host is leased by one VM, one deployment or one route made by hand at a time.
CREATE TABLE routes (
    protocol      TEXT    NOT NULL CHECK (protocol IN ('tcp', 'udp')),
    host_port     INTEGER NOT NULL CHECK (host_port BETWEEN 1 AND 65535),
    name          TEXT,
    -- What it leads to: a VM, a deployment, or an address that no VM had when the route was made.
    vm_id         INTEGER REFERENCES vms (id) ON DELETE CASCADE,
    deployment_id INTEGER REFERENCES deployments (id) ON DELETE CASCADE,
    ip_address    TEXT,
    port          INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
    mode          TEXT    NOT NULL CHECK (mode IN ('vsock', 'bridged', 'dhcp')),
    -- Made over the API instead of by a configuration.
    manual        INTEGER NOT NULL CHECK (manual IN (0, 1)),
    created_at    INTEGER NOT NULL,
    PRIMARY KEY (protocol, host_port),
    CHECK ((vm_id IS NOT NULL) + (deployment_id IS NOT NULL) + (ip_address IS NOT NULL) = 1)
) STRICT, WITHOUT ROWID;

CREATE INDEX routes_by_vm ON routes (vm_id) WHERE vm_id IS NOT NULL;
CREATE INDEX routes_by_deployment ON routes (deployment_id) WHERE deployment_id IS NOT NULL;

-- Every VM that runs can get ports.
INSERT INTO host_resources (vm_id, kind, name) SELECT vm_id, 'ports', name FROM host_resources WHERE kind = 'process';
