#!/bin/busybox sh
# What index.cgi shows, for programs.

addresses=$(busybox ip -4 -o addr show scope global | busybox awk '{printf "%s\"%s\"", sep, $4; sep = ", "}')

printf 'Content-Type: application/json\r\nCache-Control: no-store\r\n\r\n'
printf '{"hostname": "%s", "kernel": "%s", "uptime_seconds": %s, "addresses": [%s]}\n' \
  "$(busybox hostname)" "$(busybox uname -r)" "$(busybox cut -d. -f1 /proc/uptime)" "$addresses"
