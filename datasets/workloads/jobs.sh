#!/usr/bin/env bash
# Drives a job container: files come in, names resolve (or not), somebody runs a job by hand.
# shellcheck source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh" "$@"

here=$(dirname "${BASH_SOURCE[0]}")
# Where no responder runs, the lookup is refused.
if ! one_in 4 3; then
  nearby timeout "$3" python3 "$here/responder.py" &
  trap 'kill %1 2>/dev/null || true' EXIT
fi

round() {
  client sh -c "echo $1 >/srv/inbox/order-$number-$1"
  if one_in 3 && (($1 == 2)); then client sh -c "seq 1 2000 >/srv/inbox/bulk"; fi
  if one_in 2 && (($1 % 4 == 1)); then session /usr/local/bin/report manual; fi
  if one_in 4 1 && (($1 == 3)); then session bash -c 'ls /var/spool/reports; cat /var/log/jobs/*' >/dev/null; fi
}

rounds 4 round
