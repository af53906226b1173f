/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * SipHash-1-3 (Aumasson and Bernstein, 2012) over words and over the data of a record. Keyed, so that nobody can choose two
 * paths that hash alike and hide one behind the other. The state is kept in the scratch: see there.
 *
 * A hash is `hash_begin`, any number of `hash_word`, `hash_data` and `hash_string`, `hash_end`.
 */
#ifndef WSP_HASH_H
#define WSP_HASH_H

#include "common.h"

#define rotate_left(value, bits) (((value) << (bits)) | ((value) >> (64 - (bits))))

static __always_inline void sip_round(struct sip *sip)
{
	sip->v0 += sip->v1;
	sip->v2 += sip->v3;
	sip->v1 = rotate_left(sip->v1, 13) ^ sip->v0;
	sip->v3 = rotate_left(sip->v3, 16) ^ sip->v2;
	sip->v0 = rotate_left(sip->v0, 32);
	sip->v2 += sip->v1;
	sip->v0 += sip->v3;
	sip->v1 = rotate_left(sip->v1, 17) ^ sip->v2;
	sip->v3 = rotate_left(sip->v3, 21) ^ sip->v0;
	sip->v2 = rotate_left(sip->v2, 32);
}

static __always_inline void sip_word(struct sip *sip, u64 word)
{
	sip->v3 ^= word;
	sip_round(sip);
	sip->v0 ^= word;
}

static __always_inline void hash_word(struct scratch *scratch, u64 word)
{
	struct sip sip = scratch->hash.sip;

	sip_word(&sip, word);
	scratch->hash.sip = sip;
}

static __always_inline void hash_begin(struct scratch *scratch, u64 first)
{
	struct sip sip = {
		.v0 = hash_key_0 ^ 0x736f6d6570736575ULL,
		.v1 = hash_key_1 ^ 0x646f72616e646f6dULL,
		.v2 = hash_key_0 ^ 0x6c7967656e657261ULL,
		.v3 = hash_key_1 ^ 0x7465646279746573ULL,
	};

	sip_word(&sip, first);
	scratch->hash.sip = sip;
}

/* What the steps of a hash are given. */
struct hash_context {
	struct scratch *scratch;
};

/* Takes in the next eight bytes of the data. */
static long hash_step(u32 index, struct hash_context *context)
{
	struct scratch *scratch = context->scratch;
	u64 word, nul;
	u32 pos;

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

/* Words that are taken in without a call: most paths. */
#define WORDS_AT_ONCE 8

/* Takes in the data from `from` to `end`. */
static __always_inline void hash_data(struct scratch *scratch, u32 from, u32 end)
{
	struct hash_context context = { .scratch = scratch };
	/* In registers. */
	struct sip sip = scratch->hash.sip;
	/* 64 bits, so that what is compared is what is added to the address. */
	u64 pos = from;

	sip_word(&sip, end - from);
#pragma unroll
	for (int i = 0; i < WORDS_AT_ONCE; i++) {
		opaque(pos);
		if (pos + sizeof(u64) > end || pos > DATA_BYTES - sizeof(u64))
			break;
		sip_word(&sip, *(u64 *)(scratch->data + pos));
		pos += sizeof(u64);
	}
	opaque(pos);
	if (pos < end && pos + sizeof(u64) > end && pos <= DATA_BYTES - sizeof(u64)) {
		sip_word(&sip, *(u64 *)(scratch->data + pos) & ((1ULL << 8 * (end - pos)) - 1));
		pos = end;
	}
	scratch->hash.sip = sip;
	if (pos >= end)
		return;
	scratch->hash.pos = pos;
	scratch->hash.end = end;
	scratch->hash.until_nul = 0;
	bpf_loop((end - pos + 7) / 8, hash_step, &context, 0);
}

/* Takes in the data from `from` up to a NUL, or to `end`. */
static __always_inline void hash_string(struct scratch *scratch, u32 from, u32 end)
{
	struct hash_context context = { .scratch = scratch };

	scratch->hash.pos = from;
	scratch->hash.end = end;
	scratch->hash.until_nul = 1;
	hash_word(scratch, 0);
	bpf_loop((end - from + 7) / 8, hash_step, &context, 0);
}

/* Never 0, which stands for nothing. */
static __always_inline u64 hash_end(struct scratch *scratch)
{
	struct sip sip = scratch->hash.sip;
	u64 value;

	sip.v2 ^= 0xff;
	sip_round(&sip);
	sip_round(&sip);
	sip_round(&sip);
	value = sip.v0 ^ sip.v1 ^ sip.v2 ^ sip.v3;
	return value ? value : 1;
}

#endif
