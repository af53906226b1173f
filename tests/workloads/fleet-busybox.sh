#!/bin/sh
# The same as fleet.sh with busybox alone.
#
# usage: fleet-busybox.sh, in localhost/demo/busy:1 (any image with busybox as /bin/sh)
set -u

round=1
while [ "$round" -le "${ROUNDS:-100000}" ] && ! [ -e /stop ]; do
  echo "$round" >"/tmp/round-$round"
  cat "/tmp/round-$round" /etc/passwd | sort >"/tmp/sorted-$round"
  nc 127.0.0.1 "$((6000 + round))" </dev/null 2>/dev/null
  if [ -z "${ROUNDS-}" ]; then
    nc -l -p "$((7000 + round))" >/dev/null </dev/null &
    sleep 0.3
    echo | nc 127.0.0.1 "$((7000 + round))"
    wait
    printf '#!/bin/sh\nread -r _ </etc/passwd\n' >"/tmp/script-$round"
    chmod +x "/tmp/script-$round"
    "/tmp/script-$round"
    sleep 0.2
  fi
  round=$((round + 1))
done
