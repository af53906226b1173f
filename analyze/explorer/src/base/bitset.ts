// Which snapshots have a node: bits over ordinals, little-endian bytes, base64.

export class Bitset {
  private readonly bytes: Uint8Array;

  private constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** Text that is no base64 has no members. */
  static decode(text: string): Bitset {
    try {
      return new Bitset(Uint8Array.from(atob(text), (one) => one.charCodeAt(0)));
    } catch {
      return new Bitset(new Uint8Array(0));
    }
  }

  has(ordinal: number): boolean {
    return (((this.bytes[ordinal >> 3] ?? 0) >> (ordinal & 7)) & 1) === 1;
  }

  get size(): number {
    let size = 0;
    for (let byte of this.bytes) for (; byte !== 0; byte &= byte - 1) size += 1;
    return size;
  }

  ordinals(): number[] {
    const found: number[] = [];
    for (let ordinal = 0; ordinal < this.bytes.length * 8; ordinal += 1) if (this.has(ordinal)) found.push(ordinal);
    return found;
  }
}
