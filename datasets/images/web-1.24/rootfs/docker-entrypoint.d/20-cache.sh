#!/bin/sh
# The cache must be the workers'.
set -e
install -d -o www-data -g www-data /var/cache/nginx
