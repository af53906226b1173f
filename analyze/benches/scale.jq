# A replay of `wsp-datasets fleet --json` as a row of a table; $took: seconds that it took.
# Requests in US dollars, S3 in us-east-1 (https://aws.amazon.com/s3/pricing/): listings and writes, and reads.
def sum(of): [.ticks[] | of] | add;
def most(of): [.ticks[] | of] | max;
def tenths: . * 10 | round / 10;
def mib(which): [.tables | to_entries[] | select(.key | which) | .value.bytes] | add / 1048576 | tenths;
def usd: (sum(.requests.lists + .requests.puts) * 5e-6 + sum(.requests.snapshot_gets + .requests.gets) * 4e-7) * 100 | round / 100;
[
  .hosts, sum(.uploaded), .workloads, .stable, sum(.merged.admitted), sum(.merged.listed),
  sum(.requests.lists), sum(.requests.snapshot_gets), sum(.requests.gets), sum(.requests.puts), usd,
  (sum(.cpu_seconds) | round), (most(.seconds) | tenths), (.ticks[-1].seconds | tenths), (most(.peak_bytes) / 1048576 | round),
  mib(endswith(", log") | not), mib(endswith(", log")), $took
] | "| " + (map(tostring) | join(" | ")) + " |"
