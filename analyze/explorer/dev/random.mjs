// Numbers and names from a seed: the same seed gives the same fixture.

export class Random {
  #state;

  constructor(seed) {
    this.#state = seed >>> 0;
  }

  /** mulberry32: 0 to 1 */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  below(bound) {
    return Math.floor(this.next() * bound);
  }

  between(low, high) {
    return low + this.below(high - low + 1);
  }

  chance(probability) {
    return this.next() < probability;
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  hex(digits) {
    let text = "";
    while (text.length < digits) text += this.below(16).toString(16);
    return text;
  }

  /** In another order. */
  shuffled(list) {
    const copy = [...list];
    for (let at = copy.length - 1; at > 0; at -= 1) {
      const other = this.below(at + 1);
      [copy[at], copy[other]] = [copy[other], copy[at]];
    }
    return copy;
  }
}

/** Hours after 2026-11-01, as the contract writes times. */
export function hours(after) {
  return new Date(Date.UTC(2026, 10, 1) + after * 3_600_000).toISOString();
}

/** 95 % interval of Wilson. */
export function wilson(seen, of) {
  if (of === 0) return [null, null];
  const z = 1.959964;
  const share = seen / of;
  const scale = 1 + (z * z) / of;
  const middle = (share + (z * z) / (2 * of)) / scale;
  const half = (z * Math.sqrt((share * (1 - share)) / of + (z * z) / (4 * of * of))) / scale;
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}
