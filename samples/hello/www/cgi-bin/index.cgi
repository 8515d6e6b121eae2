#!/bin/busybox sh
# The page that a hello guest makes of itself. Only /bin/busybox is there, without links for its applets.

escape() { busybox sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g'; }

hostname=$(busybox hostname | escape)
kernel=$(busybox uname -sr | escape)
uptime=$(busybox cut -d. -f1 /proc/uptime)
addresses=$(busybox ip -4 -o addr show scope global | busybox awk '{print $4}' | busybox tr '\n' ' ' | escape)

printf 'Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n\r\n'
busybox cat <<PAGE
<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Hello from ${hostname}</title>
</head>
<body>
  <h1>Hello from ${hostname}</h1>
  <dl>
    <dt>Kernel</dt><dd>${kernel}</dd>
    <dt>Uptime</dt><dd>${uptime} s</dd>
    <dt>IPv4</dt><dd>${addresses:-none: this guest is reached over its channel alone}</dd>
  </dl>
</body>
</html>
PAGE
