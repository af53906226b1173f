/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * SipHash-1-3 (Aumasson and Bernstein, 2012) over words and over the data of a record. Keyed, so that nobody can choose two
 * paths that hash alike and hide one behind the other. The state is kept in the scratch: see there.
 *
 * A hash is `hash_begin`, any number of `hash_word` and `hash_data`, `hash_end`.
 */
#ifndef WSP_HASH_H
#define WSP_HASH_H

#include "common.h"

#define rotate_left(value, bits) (((value) << (bits)) | ((value) >> (64 - (bits))))

static __always_inline void hash_round(struct hash *hash)
{
	u64 v0 = hash->v0, v1 = hash->v1, v2 = hash->v2, v3 = hash->v3;

	v0 += v1;
	v2 += v3;
	v1 = rotate_left(v1, 13) ^ v0;
	v3 = rotate_left(v3, 16) ^ v2;
	v0 = rotate_left(v0, 32);
	v2 += v1;
	v0 += v3;
	v1 = rotate_left(v1, 17) ^ v2;
	v3 = rotate_left(v3, 21) ^ v0;
	v2 = rotate_left(v2, 32);
	hash->v0 = v0;
	hash->v1 = v1;
	hash->v2 = v2;
	hash->v3 = v3;
}

static __always_inline void hash_word(struct scratch *scratch, u64 word)
{
	struct hash *hash = &scratch->hash;

	hash->v3 ^= word;
	hash_round(hash);
	hash->v0 ^= word;
}

static __always_inline void hash_begin(struct scratch *scratch, u64 first)
{
	struct hash *hash = &scratch->hash;

	hash->v0 = hash_key_0 ^ 0x736f6d6570736575ULL;
	hash->v1 = hash_key_1 ^ 0x646f72616e646f6dULL;
	hash->v2 = hash_key_0 ^ 0x6c7967656e657261ULL;
	hash->v3 = hash_key_1 ^ 0x7465646279746573ULL;
	hash_word(scratch, first);
}

/* Takes in the next eight bytes of the data. */
static long hash_step(u32 index, void *unused)
{
	u32 zero = 0, pos;
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &zero);
	u64 word, nul;

	if (!scratch)
		return 1;
	pos = scratch->hash.pos;
	opaque(pos);
	if (pos >= scratch->hash.end || pos > DATA_BYTES - sizeof(word))
		return 1;
	word = *(u64 *)(scratch->data + pos);
	if (scratch->hash.end - pos < sizeof(word))
		word &= (1ULL << 8 * (scratch->hash.end - pos)) - 1;
	scratch->hash.pos = pos + sizeof(word);
	if (scratch->hash.until_nul) {
		/* The lowest set bit is in the first byte that is zero. */
		nul = (word - 0x0101010101010101ULL) & ~word & 0x8080808080808080ULL;
		if (nul) {
			hash_word(scratch, word & ((nul & -nul) - 1));
			return 1;
		}
	}
	hash_word(scratch, word);
	return 0;
}

/* Takes in the data from `from` to `end`, or up to a NUL on the way. */
static __always_inline void hash_data(struct scratch *scratch, u32 from, u32 end, u32 until_nul)
{
	scratch->hash.pos = from;
	scratch->hash.end = end;
	scratch->hash.until_nul = until_nul;
	hash_word(scratch, until_nul ? 0 : end - from);
	bpf_loop((end - from + 7) / 8, hash_step, NULL, 0);
}

/* Never 0, which stands for nothing. */
static __always_inline u64 hash_end(struct scratch *scratch)
{
	struct hash *hash = &scratch->hash;
	u64 value;

	hash->v2 ^= 0xff;
	hash_round(hash);
	hash_round(hash);
	hash_round(hash);
	value = hash->v0 ^ hash->v1 ^ hash->v2 ^ hash->v3;
	return value ? value : 1;
}

#endif
