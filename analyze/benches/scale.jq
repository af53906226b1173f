# A replay of `wsp-datasets fleet --json` as a row of a table; $took: seconds that it took.
def sum(of): [.ticks[] | of] | add;
def most(of): [.ticks[] | of] | max;
def tenths: . * 10 | round / 10;
def mib(which): [.tables | to_entries[] | select(.key | which) | .value.bytes] | add / 1048576 | tenths;
[
  .hosts, sum(.uploaded), .workloads, .stable, sum(.merged.admitted), sum(.merged.listed),
  sum(.requests.lists), sum(.requests.snapshot_gets), sum(.requests.gets), sum(.requests.puts), (sum(.usd) * 100 | round / 100),
  (sum(.cpu_seconds) | round), (most(.seconds) | tenths), (.ticks[-1].seconds | tenths), (most(.peak_bytes) / 1048576 | round),
  mib(endswith(", log") | not), mib(endswith(", log")), $took
] | "| " + (map(tostring) | join(" | ")) + " |"
