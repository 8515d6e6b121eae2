-- PCI devices that are taken from the host: by a VM, on request of a client (pinned), or both. A row is written before the host is
-- changed and removed after the device was given back.
CREATE TABLE device_leases (
    pci_address     TEXT    NOT NULL PRIMARY KEY,
    vm_id           INTEGER REFERENCES vms (id) ON DELETE RESTRICT,
    pinned          INTEGER NOT NULL CHECK (pinned IN (0, 1)),
    -- From now on the device may be bound to vfio-pci; driver and driver_override are what it had before.
    changed         INTEGER NOT NULL DEFAULT 0 CHECK (changed IN (0, 1)),
    driver          TEXT,
    driver_override TEXT,
    CHECK (pinned = 1 OR vm_id IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX device_leases_by_vm ON device_leases (vm_id) WHERE vm_id IS NOT NULL;
