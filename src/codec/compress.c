/*
 * Role: Kafka's codecs on top of libdeflate, zlib, snappy, lz4 and zstd.
 *
 *     gzip     member...      one member with a true length trailer goes to libdeflate, the rest to
 *                             zlib
 *     snappy   raw block, or
 *              82 "SNAPPY" 00 | version 4 | compatible 4 | (be32 length | raw block)...
 *     lz4      frame...       04 22 4D 18 | FLG BD [size 8] [dictionary 4] | checksum | blocks...
 *     zstd     frame...
 *
 * Invariants
 * (1) A call appends at most `limit` bytes, and never grows `out` beyond what limit and out->limit
 *     allow together.
 * (2) On failure out->len is what it was before the call.
 * (3) Memory asked for is bounded by the limit and by the input's size times what the format can
 *     expand at most, or grows by a factor with what was decoded so far: a few bytes that claim a
 *     gigabyte get no gigabyte.
 *
 * Ownership and shard: contexts live for one call; out is the caller's. Any thread.
 *
 * Failure modes: bytes that do not decode give ERR_CORRUPT_MESSAGE, too many of them
 * ERR_MESSAGE_TOO_LARGE.
 */
#include "codec/compress.h"

#include <libdeflate.h>
#include <lz4frame.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    GROW_MIN = 16 * 1024,
    GZIP_RATIO_MAX = 1032,  /* deflate: 258 bytes from two bits */
    SNAPPY_RATIO_MAX = 24,  /* a copy of 64 bytes takes three */
    ZSTD_RATIO_MAX = 43691, /* a repeated byte: 128 KiB from a block of three bytes */
    XERIAL_HEADER = 16,
    XERIAL_BLOCK = 32 * 1024, /* of the library the name comes from; its readers need no more */
    LZ4_HEADER_MIN = 7,
    LZ4_HEADER_MAX = 19
};

static const uint8_t xerial_magic[8] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};
static const uint8_t lz4_magic[4] = {0x04, 0x22, 0x4d, 0x18};

static const char *const kind_names[COMPRESS_COUNT] = {"none", "gzip", "snappy", "lz4", "zstd"};

/* Where a decoder's output goes: out from base on, at most limit bytes. */
struct sink {
    struct bytebuf *out;
    size_t base;
    size_t limit;
};

const char *compress_name(enum compress_kind kind)
{
    ASSERT(kind >= COMPRESS_NONE && kind < COMPRESS_COUNT);
    return kind_names[kind];
}

bool compress_from_name(struct slice name, enum compress_kind *ret_kind)
{
    ASSERT(ret_kind);
    for (int i = 0; i < COMPRESS_COUNT; i++) {
        if (slice_equal(name, slice_cstr(kind_names[i]))) {
            *ret_kind = (enum compress_kind)i;
            return true;
        }
    }
    *ret_kind = COMPRESS_NONE;
    return slice_equal(name, SLICE_LIT("uncompressed"));
}

/* Bytes that may still be appended. */
static size_t sink_left(const struct sink *sink)
{
    size_t done = sink->out->len - sink->base;
    ASSERT(sink->out->len >= sink->base && done <= sink->limit);
    ASSERT(sink->out->len <= sink->out->limit);
    size_t left = sink->limit - done;
    size_t room = sink->out->limit - sink->out->len;
    return left < room ? left : room;
}

/*
 * Space for about `want` bytes, less when the limit is near; NULL at the limit (ret_error says
 * which). The decoder may fill *ret_space bytes and then raises out->len.
 */
static uint8_t *sink_reserve(struct sink *sink, size_t want, size_t *ret_space, enum err *ret_error)
{
    ASSERT(ret_space && ret_error);
    size_t left = sink_left(sink);
    if (want > left)
        want = left;
    if (want == 0) {
        *ret_error = ERR_MESSAGE_TOO_LARGE;
        return NULL;
    }
    uint8_t *data = bytebuf_reserve(sink->out, want);
    if (!data) {
        sink->out->failed = false;
        *ret_error = ERR_NO_MEMORY;
        return NULL;
    }
    size_t room = sink->out->cap - sink->out->len;
    *ret_space = room < left ? room : left;
    ASSERT(*ret_space >= want);
    return data;
}

static enum err copy_plain(struct slice in, struct sink *sink)
{
    if (in.len > sink_left(sink))
        return ERR_MESSAGE_TOO_LARGE;
    bytebuf_append_slice(sink->out, in);
    return sink->out->failed ? ERR_NO_MEMORY : ERR_OK;
}

static uint32_t load_be32(const uint8_t *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

static void store_be32(uint8_t *data, uint32_t value)
{
    data[0] = (uint8_t)(value >> 24);
    data[1] = (uint8_t)(value >> 16);
    data[2] = (uint8_t)(value >> 8);
    data[3] = (uint8_t)value;
}

/*
 * gzip
 */

/* The whole input as one member whose trailer tells its length. false: not so, nothing appended. */
static bool gunzip_whole(struct slice in, struct sink *sink)
{
    if (in.len < 18)
        return false;
    const uint8_t *tail = in.data + in.len - 4;
    /* The trailer holds the length modulo 2^32, and only of the last member: a hint that the decoder
     * proves or refutes. */
    size_t claimed =
        (size_t)tail[0] | (size_t)tail[1] << 8 | (size_t)tail[2] << 16 | (size_t)tail[3] << 24;
    if (claimed > sink_left(sink) || claimed / GZIP_RATIO_MAX > in.len)
        return false;
    size_t space;
    enum err error;
    uint8_t *data = sink_reserve(sink, claimed ? claimed : 1, &space, &error);
    if (!data)
        return false;
    struct libdeflate_decompressor *inflater = libdeflate_alloc_decompressor();
    if (!inflater)
        return false;
    size_t used;
    size_t made;
    enum libdeflate_result result =
        libdeflate_gzip_decompress_ex(inflater, in.data, in.len, data, claimed, &used, &made);
    libdeflate_free_decompressor(inflater);
    if (result != LIBDEFLATE_SUCCESS || used != in.len)
        return false;
    ASSERT(made <= claimed);
    sink->out->len += made;
    return true;
}

/* One step of inflate into fresh space. ret_end: the last member ended exactly where the input
 * ends. */
static enum err gunzip_step(z_stream *stream, struct sink *sink, bool *ret_end)
{
    size_t space;
    enum err error = ERR_OK;
    uint8_t spill;
    uint8_t *data = sink_reserve(sink, GROW_MIN, &space, &error);
    if (!data) { /* at the limit only the trailer may be left: a byte of output would be too much */
        if (error != ERR_MESSAGE_TOO_LARGE)
            return error;
        data = &spill;
        space = 1;
    }
    stream->next_out = data;
    stream->avail_out = space < UINT32_MAX ? (uInt)space : UINT32_MAX;
    uInt before = stream->avail_out;
    int result = inflate(stream, Z_NO_FLUSH);
    ASSERT(stream->avail_out <= before);
    if (data == &spill) {
        if (stream->avail_out == 0)
            return ERR_MESSAGE_TOO_LARGE;
    } else {
        sink->out->len += before - stream->avail_out;
    }
    if (result == Z_STREAM_END) {
        *ret_end = stream->avail_in == 0;
        return *ret_end || inflateReset(stream) == Z_OK ? ERR_OK : ERR_CORRUPT_MESSAGE;
    }
    if (result == Z_MEM_ERROR)
        return ERR_NO_MEMORY;
    if (result != Z_OK)
        return ERR_CORRUPT_MESSAGE; /* Z_BUF_ERROR as well: the input ends too early */
    return ERR_OK;
}

/* The general way: any number of members, lengths unknown, output in steps of what has been decoded. */
static enum err gunzip_stream(struct slice in, struct sink *sink)
{
    ASSERT(in.data);
    if (in.len > UINT32_MAX)
        return ERR_MESSAGE_TOO_LARGE;
    z_stream stream = {0};
    if (inflateInit2(&stream, 15 + 16) != Z_OK)
        return ERR_NO_MEMORY;
    stream.next_in = (Bytef *)(uintptr_t)in.data;
    stream.avail_in = (uInt)in.len;
    enum err error = ERR_OK;
    bool end = false;
    while (error == ERR_OK && !end)
        error = gunzip_step(&stream, sink, &end);
    inflateEnd(&stream);
    return error;
}

static enum err gunzip(struct slice in, struct sink *sink)
{
    return gunzip_whole(in, sink) ? ERR_OK : gunzip_stream(in, sink);
}

static enum err gzip(struct slice in, int level, struct bytebuf *out)
{
    ASSERT(level >= 0 && level <= 12);
    struct libdeflate_compressor *deflater = libdeflate_alloc_compressor(level ? level : 6);
    if (!deflater)
        return ERR_NO_MEMORY;
    size_t bound = libdeflate_gzip_compress_bound(deflater, in.len);
    uint8_t *data = bytebuf_reserve(out, bound);
    size_t made = data ? libdeflate_gzip_compress(deflater, in.data, in.len, data, bound) : 0;
    libdeflate_free_compressor(deflater);
    if (made == 0)
        return ERR_MESSAGE_TOO_LARGE;
    ASSERT(made <= bound);
    out->len += made;
    return ERR_OK;
}

/*
 * snappy
 */

/*
 * A raw block begins with its length. It is believed only as far as the format could expand the bytes
 * that follow: 24 times.
 */
static enum err unsnap_block(struct slice in, struct sink *sink)
{
    size_t claimed;
    if (snappy_uncompressed_length((const char *)in.data, in.len, &claimed) != SNAPPY_OK)
        return ERR_CORRUPT_MESSAGE;
    if (claimed / SNAPPY_RATIO_MAX > in.len)
        return ERR_CORRUPT_MESSAGE;
    if (claimed > sink_left(sink))
        return ERR_MESSAGE_TOO_LARGE;
    uint8_t nothing;
    uint8_t *data = &nothing;
    if (claimed > 0) {
        size_t space;
        enum err error;
        data = sink_reserve(sink, claimed, &space, &error);
        if (!data)
            return error;
    }
    size_t made = claimed;
    if (snappy_uncompress((const char *)in.data, in.len, (char *)data, &made) != SNAPPY_OK)
        return ERR_CORRUPT_MESSAGE;
    ASSERT(made == claimed);
    sink->out->len += made;
    return ERR_OK;
}

static bool at_xerial_header(struct slice in, size_t at)
{
    ASSERT(at <= in.len);
    return in.len - at >= XERIAL_HEADER &&
           memcmp(in.data + at, xerial_magic, sizeof(xerial_magic)) == 0;
}

static enum err unsnap(struct slice in, struct sink *sink)
{
    if (!at_xerial_header(in, 0))
        return unsnap_block(in, sink);
    size_t at = 0;
    while (at < in.len) {
        if (at_xerial_header(in, at)) { /* streams may follow one another */
            at += XERIAL_HEADER;
            continue;
        }
        if (in.len - at < 4)
            return ERR_CORRUPT_MESSAGE;
        size_t len = load_be32(in.data + at);
        at += 4;
        if (len > in.len - at)
            return ERR_CORRUPT_MESSAGE;
        enum err error = unsnap_block(slice_sub(in, at, len), sink);
        if (error != ERR_OK)
            return error;
        at += len;
        ASSERT(at <= in.len);
    }
    return ERR_OK;
}

/* In Xerial frames of 32 KiB, the form that Kafka's Java clients write. */
static enum err snap(struct slice in, struct bytebuf *out)
{
    static const uint8_t versions[8] = {0, 0, 0, 1, 0, 0, 0, 1};
    bytebuf_append(out, xerial_magic, sizeof(xerial_magic));
    bytebuf_append(out, versions, sizeof(versions));
    for (size_t at = 0; at < in.len; at += XERIAL_BLOCK) {
        struct slice block = slice_sub(in, at, XERIAL_BLOCK);
        size_t made = snappy_max_compressed_length(block.len);
        uint8_t *data = bytebuf_reserve(out, 4 + made);
        if (!data)
            return ERR_MESSAGE_TOO_LARGE;
        snappy_status status =
            snappy_compress((const char *)block.data, block.len, (char *)data + 4, &made);
        ASSERT(status == SNAPPY_OK);
        store_be32(data, (uint32_t)made);
        out->len += 4 + made;
    }
    return out->failed ? ERR_MESSAGE_TOO_LARGE : ERR_OK;
}

/*
 * lz4
 */

/*
 * Old Java clients summed the frame header with its magic. If the frame at in is one of theirs,
 * copies its header with the right sum to header and returns its length; else 0.
 */
static size_t lz4_mend_header(struct slice in, uint8_t header[LZ4_HEADER_MAX])
{
    if (in.len < LZ4_HEADER_MIN || memcmp(in.data, lz4_magic, sizeof(lz4_magic)) != 0)
        return 0;
    uint8_t flags = in.data[4];
    size_t sum_at = 6 + (flags & 0x08 ? 8 : 0) + (flags & 0x01 ? 4 : 0);
    if (in.len <= sum_at)
        return 0;
    ASSERT(sum_at < LZ4_HEADER_MAX);
    uint8_t right = (uint8_t)(XXH32(in.data + 4, sum_at - 4, 0) >> 8);
    uint8_t broken = (uint8_t)(XXH32(in.data, sum_at, 0) >> 8);
    if (in.data[sum_at] == right || in.data[sum_at] != broken)
        return 0;
    memcpy(header, in.data, sum_at);
    header[sum_at] = right;
    return sum_at + 1;
}

/*
 * Feeds in to the decoder until it is used up or a frame ends. ret_used: bytes taken. ret_hint: 0
 * at the end of a frame, else the decoder is inside one.
 */
static enum err lz4_feed(LZ4F_dctx *decoder, struct slice in, struct sink *sink, size_t *ret_used,
                         size_t *ret_hint)
{
    size_t at = 0;
    size_t hint = *ret_hint;
    enum err error = ERR_OK;
    ASSERT(decoder && in.data);
    for (;;) {
        size_t space;
        size_t want = sink->out->len - sink->base;
        uint8_t spill;
        uint8_t *data = sink_reserve(sink, want < GROW_MIN ? GROW_MIN : want, &space, &error);
        if (!data && error != ERR_MESSAGE_TOO_LARGE)
            return error;
        size_t made = data ? space : 1; /* at the limit only the end mark may follow */
        size_t used = in.len - at;
        hint = LZ4F_decompress(decoder, data ? data : &spill, &made, in.data + at, &used, NULL);
        if (LZ4F_isError(hint))
            return ERR_CORRUPT_MESSAGE;
        if (!data && made > 0)
            return ERR_MESSAGE_TOO_LARGE;
        if (data)
            sink->out->len += made;
        at += used;
        ASSERT(at <= in.len && made <= (data ? space : 1));
        if (hint == 0 || (used == 0 && made == 0))
            break;
    }
    *ret_used = at;
    *ret_hint = hint;
    return ERR_OK;
}

/*
 * Frames may follow one another. Each may be one of the old clients', whose header is mended first and
 * fed to the decoder in place of its own.
 */
static enum err unlz4_frames(LZ4F_dctx *decoder, struct slice in, struct sink *sink)
{
    size_t at = 0;
    do {
        uint8_t header[LZ4_HEADER_MAX];
        size_t hint = 1;
        size_t used = 0;
        enum err error = ERR_OK;
        size_t mended = lz4_mend_header(slice_sub(in, at, SIZE_MAX), header);
        if (mended > 0) {
            error = lz4_feed(decoder, slice_make(header, mended), sink, &used, &hint);
            if (error != ERR_OK || used != mended || hint == 0)
                return error == ERR_OK ? ERR_CORRUPT_MESSAGE : error;
            at += mended;
        }
        error = lz4_feed(decoder, slice_sub(in, at, SIZE_MAX), sink, &used, &hint);
        if (error != ERR_OK)
            return error;
        if (hint != 0)
            return ERR_CORRUPT_MESSAGE; /* the input ends inside a frame */
        at += used;
    } while (at < in.len);
    return ERR_OK;
}

static enum err unlz4(struct slice in, struct sink *sink)
{
    LZ4F_dctx *decoder;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&decoder, LZ4F_VERSION)))
        return ERR_NO_MEMORY;
    enum err error = unlz4_frames(decoder, in, sink);
    LZ4F_freeDecompressionContext(decoder);
    return error;
}

/* Independent blocks of 64 KiB, no sums: Kafka's batch has a checksum of its own. */
static enum err lz4(struct slice in, struct bytebuf *out)
{
    LZ4F_preferences_t preferences = {0};
    /* What Kafka's own clients write: their old versions read nothing else. */
    preferences.frameInfo.blockMode = LZ4F_blockIndependent;
    preferences.frameInfo.blockSizeID = LZ4F_max64KB;
    size_t bound = LZ4F_compressFrameBound(in.len, &preferences);
    uint8_t *data = bytebuf_reserve(out, bound);
    if (!data)
        return ERR_MESSAGE_TOO_LARGE;
    size_t made = LZ4F_compressFrame(data, bound, in.data, in.len, &preferences);
    if (LZ4F_isError(made))
        return ERR_NO_MEMORY;
    ASSERT(made <= bound);
    out->len += made;
    return ERR_OK;
}

/*
 * zstd
 */

/*
 * Tries a size and grows by four when it was too small. Decoding anew costs less than a streaming
 * context with a window of its own, since nearly all frames tell their size.
 */
static enum err unzstd_frames(ZSTD_DCtx *decoder, struct slice in, struct sink *sink)
{
    /* One pass into a buffer that holds all needs no window of its own; the first frame's size is
     * only a hint. */
    unsigned long long claimed = ZSTD_getFrameContentSize(in.data, in.len);
    size_t want = in.len < SIZE_MAX / 8 ? in.len * 4 : in.len;
    if (claimed != ZSTD_CONTENTSIZE_UNKNOWN && claimed != ZSTD_CONTENTSIZE_ERROR &&
        claimed / ZSTD_RATIO_MAX <= in.len)
        want = (size_t)claimed;
    else if (want < GROW_MIN)
        want = GROW_MIN;
    size_t left = sink_left(sink);
    for (;;) {
        size_t space = 0;
        enum err error = ERR_OK;
        uint8_t nothing;
        uint8_t *data = &nothing;
        if (want > 0 && left > 0) {
            data = sink_reserve(sink, want, &space, &error);
            if (!data)
                return error;
        }
        size_t made = ZSTD_decompressDCtx(decoder, data, space, in.data, in.len);
        if (!ZSTD_isError(made)) {
            ASSERT(made <= space);
            sink->out->len += made;
            return ERR_OK;
        }
        ZSTD_ErrorCode code = ZSTD_getErrorCode(made);
        if (code == ZSTD_error_memory_allocation)
            return ERR_NO_MEMORY;
        if (code != ZSTD_error_dstSize_tooSmall)
            return ERR_CORRUPT_MESSAGE;
        if (space >= left)
            return ERR_MESSAGE_TOO_LARGE;
        want = space < GROW_MIN ? GROW_MIN : space < SIZE_MAX / 4 ? space * 4 : left;
    }
}

static enum err unzstd(struct slice in, struct sink *sink)
{
    if (in.len == 0)
        return ERR_CORRUPT_MESSAGE;
    ZSTD_DCtx *decoder = ZSTD_createDCtx();
    if (!decoder)
        return ERR_NO_MEMORY;
    enum err error = unzstd_frames(decoder, in, sink);
    ZSTD_freeDCtx(decoder);
    return error;
}

static enum err zstd(struct slice in, int level, struct bytebuf *out)
{
    size_t bound = ZSTD_compressBound(in.len);
    uint8_t *data = bytebuf_reserve(out, bound);
    if (!data)
        return ERR_MESSAGE_TOO_LARGE;
    size_t made = ZSTD_compress(data, bound, in.data, in.len, level ? level : 3);
    if (ZSTD_isError(made))
        return ERR_NO_MEMORY;
    ASSERT(made <= bound);
    out->len += made;
    return ERR_OK;
}

/* The one way in: whatever a decoder left half done is taken back here. */
enum err compress_decompress(enum compress_kind kind, struct slice in, size_t limit,
                             struct bytebuf *out)
{
    ASSERT(!out->failed && out->len <= out->limit);
    static enum err (*const decoders[COMPRESS_COUNT])(struct slice, struct sink *) = {
        copy_plain, gunzip, unsnap, unlz4, unzstd};
    ASSERT(kind >= COMPRESS_NONE && kind < COMPRESS_COUNT);
    struct sink sink = {out, out->len, limit};
    struct slice bytes = in.data ? in : SLICE_LIT("");
    enum err error = decoders[kind](bytes, &sink);
    if (error != ERR_OK) {
        out->len = sink.base;
        out->failed = false;
    }
    ASSERT(out->len - sink.base <= limit);
    return error;
}

enum err compress_compress(enum compress_kind kind, struct slice in, int level, struct bytebuf *out)
{
    ASSERT(!out->failed && out->len <= out->limit);
    size_t base = out->len;
    struct slice bytes = in.data ? in : SLICE_LIT("");
    enum err error = ERR_INVALID_ARGUMENT;
    switch (kind) {
    case COMPRESS_NONE:
        bytebuf_append_slice(out, bytes);
        error = out->failed ? ERR_MESSAGE_TOO_LARGE : ERR_OK;
        break;
    case COMPRESS_GZIP:
        error = gzip(bytes, level, out);
        break;
    case COMPRESS_SNAPPY:
        error = snap(bytes, out);
        break;
    case COMPRESS_LZ4:
        error = lz4(bytes, out);
        break;
    case COMPRESS_ZSTD:
        error = zstd(bytes, level, out);
        break;
    case COMPRESS_COUNT:
        UNREACHABLE();
    }
    if (error != ERR_OK) {
        out->len = base;
        out->failed = false;
    }
    return error;
}
