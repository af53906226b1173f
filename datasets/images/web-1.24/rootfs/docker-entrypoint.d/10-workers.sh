#!/bin/sh
# One worker for each processor, as far as the container may use them.
set -e
count=$(nproc)
sed -i "s/^worker_processes .*/worker_processes ${count};/" /etc/nginx/nginx.conf
