-- What the running guest was told; made from its IPv4 address and the prefix of the time.
ALTER TABLE vms ADD COLUMN ipv6_address TEXT;
