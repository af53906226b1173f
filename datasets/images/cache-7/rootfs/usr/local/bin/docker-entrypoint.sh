#!/bin/sh
# Gives the data to the user redis and becomes it.
set -e
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
  chown redis /etc/redis /etc/redis/demo.conf
  find . \! -user redis -exec chown redis '{}' +
  exec setpriv --reuid=redis --regid=redis --clear-groups "$0" "$@"
fi
umask 0077
exec "$@"
