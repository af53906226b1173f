"""Prints medians of figures, and of their ratios to what was measured without anything beside them.

usage: report.py FILE      lines of: name value mode pair
"""

import collections
import statistics
import sys

found = collections.defaultdict(dict)
for line in open(sys.argv[1]):
    name, value, mode, pair = line.split()
    found[name, mode][pair] = float(value)
modes = list(dict.fromkeys(mode for _, mode in found))
for name in dict.fromkeys(name for name, _ in found):
    print(f"\n{name}")
    base = found.get((name, "none"), {})
    for mode in modes:
        if values := found.get((name, mode)):
            ratios = [value / base[pair] for pair, value in values.items() if pair in base and mode != "none"]
            row = f"  {mode:<20}{statistics.median(values.values()):>12.1f}"
            row += f"  ({min(values.values()):.1f} to {max(values.values()):.1f}, {len(values)} runs)"
            if ratios:
                row += f"  {statistics.median(ratios):.3f} of none ({min(ratios):.3f} to {max(ratios):.3f})"
            print(row)
