/*
 * Kafka's four compression codecs over whole buffers, always with a hard cap on what comes out.
 *
 * Input of decompression is a peer's or a disk's: every length in it is checked, memory grows with
 * what was really decoded (never to a length that the input merely claims beyond what its size
 * makes possible), and a result larger than the cap is refused.
 */
#ifndef WEIR_CODEC_COMPRESS_H
#define WEIR_CODEC_COMPRESS_H

#include <stdbool.h>

#include "base/bytebuf.h"
#include "base/error.h"
#include "base/slice.h"

/* Values are the codec ids of Kafka's batch attributes. */
enum compress_kind {
    COMPRESS_NONE = 0,
    COMPRESS_GZIP = 1,
    COMPRESS_SNAPPY = 2,
    COMPRESS_LZ4 = 3,
    COMPRESS_ZSTD = 4,
    COMPRESS_COUNT
};

/* "none", "gzip", "snappy", "lz4", "zstd". */
const char *compress_name(enum compress_kind kind);
/* By name, "uncompressed" too; false: no such codec. */
bool compress_from_name(struct slice name, enum compress_kind *ret_kind);

/*
 * Appends the decompressed bytes to out, at most limit of them. Accepts: gzip with several members;
 * snappy raw and in Xerial frames; lz4 frames, also those of old clients whose header checksum
 * covers the magic; zstd frames. ERR_CORRUPT_MESSAGE: malformed, truncated or followed by garbage.
 * ERR_MESSAGE_TOO_LARGE: more than limit or than out may hold. ERR_NO_MEMORY. On any error out is
 * as it was. Shard: any.
 */
MUST_CHECK enum err compress_decompress(enum compress_kind kind, struct slice in, size_t limit,
                                        struct bytebuf *out);

/*
 * Appends the compressed form of in. level 0 is the codec's default; gzip takes 1..9, zstd 1..19,
 * the others have none. Snappy is written in Xerial frames of 32 KiB, lz4 as a frame of independent
 * 64 KiB blocks, as Kafka's own client does. ERR_MESSAGE_TOO_LARGE: out has no room for the worst
 * case (a little more than in.len). ERR_NO_MEMORY. On any error out is as it was. Shard: any.
 */
MUST_CHECK enum err compress_compress(enum compress_kind kind, struct slice in, int level,
                                      struct bytebuf *out);

#endif
