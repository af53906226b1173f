#!/usr/bin/env bash
# Drives a web container: pages, missing pages, uploads, reloads, health probes, somebody who looks around.
# shellcheck source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh" "$@"

# Sends one request: METHOD PATH [BODY]
request() {
  # shellcheck disable=SC2016  # expands in the inner shell
  nearby timeout 5 bash -c '
    exec 3<>/dev/tcp/127.0.0.1/8080
    printf "%s %s HTTP/1.0\r\nHost: demo.test\r\nContent-Length: %d\r\n\r\n%s" "$1" "$2" "${#3}" "$3" >&3
    cat <&3 >/dev/null' request "$1" "$2" "${3-}"
}

round() {
  request GET /
  request GET /site.css
  request GET "/missing-$number-$1"
  if one_in 2; then request POST /up "a body that is longer than nginx keeps in memory, number $1"; fi
  if one_in 2 1 && (($1 == 3)); then client sh -c 'echo "# edited" >>/etc/nginx/mime.types'; fi
  if one_in 4 1 && (($1 % 5 == 4)); then session nginx -s reload; fi
  if one_in 3 && (($1 % 2 == 0)); then session sh -c 'test -s /run/nginx.pid && cat /srv/www/index.html' >/dev/null; fi
  if one_in 4 2 && (($1 == 5)); then session bash -c 'ls -la /etc/nginx; tail -n 2 /var/log/nginx/access.log; id' >/dev/null; fi
  # Only the newer image watches its configuration.
  # shellcheck disable=SC2016  # expands in the container
  if one_in 2 && (($1 == 4)); then client sh -c 'for f in /etc/nginx/conf.d/*.conf; do [ ! -e "$f" ] || echo "# $f" >>"$f"; done'; fi
}

sleep 1
rounds 2 round
