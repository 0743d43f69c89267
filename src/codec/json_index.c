/*
 * Stage one of the JSON scanner (see json_index.h).
 *
 * Per block of 64 bytes one bit mask for each class of byte; strings are found by the running
 * parity of unescaped quotes, which carries from block to block. The last block is padded with
 * blanks, so nothing is read behind the text.
 *
 * Invariants: (1) entries ascend and lie inside the text; (2) there are as many as there are
 * tokens, and no more than bytes; (3) all kernels give equal entries and flags for equal text.
 * Ownership: the index owns its entries; one user at a time. Failure: memory only.
 */
#include "codec/json_index.h"

#include <stdlib.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

struct json_masks {
    uint64_t quote, backslash, op, space, control, high;
};

/* Bits of bytes that a backslash escapes. carry: in and out, the escape that crosses the block's
 * end. */
static inline uint64_t json_escaped_mask(uint64_t backslash, uint64_t *carry)
{
    uint64_t escaped = *carry;
    uint64_t left = backslash & ~*carry;

    *carry = 0;
    while (left != 0) {
        unsigned at = (unsigned)__builtin_ctzll(left);
        if (at == 63) {
            *carry = 1;
            break;
        }
        escaped |= 2ULL << at;
        left &= ~(3ULL << at);
    }
    return escaped;
}

/* Writes the position of each bit, eight at a time: the few too many are overwritten by the next
 * call. */
static inline uint32_t *json_emit(uint32_t *out, uint32_t base, uint64_t bits)
{
    unsigned count = (unsigned)__builtin_popcountll(bits);

    for (unsigned done = 0; done < count; done += 8) {
        for (unsigned i = 0; i < 8; i++) {
            out[done + i] = base + (uint32_t)__builtin_ctzll(bits | (1ULL << 63));
            bits &= bits - 1;
        }
    }
    return out + count;
}

static inline uint64_t json_prefix_xor(uint64_t bits)
{
    for (unsigned shift = 1; shift < 64; shift <<= 1)
        bits ^= bits << shift;
    return bits;
}

enum { CLASS_QUOTE = 1, CLASS_BACKSLASH = 2, CLASS_OP = 4, CLASS_SPACE = 8, CLASS_CONTROL = 16 };

static const uint8_t byte_class[256] = {
    [0 ... 8] = CLASS_CONTROL,
    ['\t'] = CLASS_SPACE | CLASS_CONTROL,
    ['\n'] = CLASS_SPACE | CLASS_CONTROL,
    [11 ... 12] = CLASS_CONTROL,
    ['\r'] = CLASS_SPACE | CLASS_CONTROL,
    [14 ... 31] = CLASS_CONTROL,
    [' '] = CLASS_SPACE,
    ['"'] = CLASS_QUOTE,
    ['\\'] = CLASS_BACKSLASH,
    ['{'] = CLASS_OP,
    ['}'] = CLASS_OP,
    ['['] = CLASS_OP,
    [']'] = CLASS_OP,
    [':'] = CLASS_OP,
    [','] = CLASS_OP,
};

static inline void classify_portable(const uint8_t *block, struct json_masks *m)
{
    memset(m, 0, sizeof(*m));
    for (unsigned i = 0; i < 64; i++) {
        uint64_t class = byte_class[block[i]];
        m->quote |= (class & 1) << i;
        m->backslash |= ((class >> 1) & 1) << i;
        m->op |= ((class >> 2) & 1) << i;
        m->space |= ((class >> 3) & 1) << i;
        m->control |= ((class >> 4) & 1) << i;
        m->high |= (uint64_t)(block[i] >> 7) << i;
    }
}

#define KERNEL_NAME index_portable
#define KERNEL_TARGET
#define KERNEL_CLASSIFY classify_portable
#define KERNEL_PREFIX_XOR json_prefix_xor
#include "codec/json_index_kernel.h"

#if defined(__x86_64__)

/* Bytes that differ from a bracket only in a bit that control characters lack are sorted out by
 * stage two. */
__attribute__((target("sse4.2"))) static inline void classify_sse42(const uint8_t *block,
                                                                    struct json_masks *m)
{
    const __m128i blanks = _mm_setr_epi8(' ', 0, 0, 0, 0, 0, 0, 0, 0, '\t', '\n', 0, 0, '\r', 0, 0);

    memset(m, 0, sizeof(*m));
    for (unsigned i = 0; i < 4; i++) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(block + i * 16));
        __m128i folded = _mm_or_si128(v, _mm_set1_epi8(0x20));
        __m128i op = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(folded, _mm_set1_epi8('{')),
                                               _mm_cmpeq_epi8(folded, _mm_set1_epi8('}'))),
                                  _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(':')),
                                               _mm_cmpeq_epi8(v, _mm_set1_epi8(','))));
        __m128i space = _mm_cmpeq_epi8(_mm_shuffle_epi8(blanks, v), v);
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
        unsigned shift = i * 16;
#define MASK(x) ((uint64_t)(uint16_t)_mm_movemask_epi8(x) << shift)
        m->quote |= MASK(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
        m->backslash |= MASK(_mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
        m->op |= MASK(op);
        m->space |= MASK(space);
        m->control |= MASK(control);
        m->high |= MASK(v);
#undef MASK
    }
}

#define KERNEL_NAME index_sse42
#define KERNEL_TARGET __attribute__((target("sse4.2,popcnt")))
#define KERNEL_CLASSIFY classify_sse42
#define KERNEL_PREFIX_XOR json_prefix_xor
#include "codec/json_index_kernel.h"

__attribute__((target("avx2"))) static inline void classify_avx2(const uint8_t *block,
                                                                 struct json_masks *m)
{
    const __m256i blanks =
        _mm256_setr_epi8(' ', 0, 0, 0, 0, 0, 0, 0, 0, '\t', '\n', 0, 0, '\r', 0, 0, ' ', 0, 0, 0, 0,
                         0, 0, 0, 0, '\t', '\n', 0, 0, '\r', 0, 0);

    memset(m, 0, sizeof(*m));
    for (unsigned i = 0; i < 2; i++) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(block + i * 32));
        __m256i folded = _mm256_or_si256(v, _mm256_set1_epi8(0x20));
        __m256i op =
            _mm256_or_si256(_mm256_or_si256(_mm256_cmpeq_epi8(folded, _mm256_set1_epi8('{')),
                                            _mm256_cmpeq_epi8(folded, _mm256_set1_epi8('}'))),
                            _mm256_or_si256(_mm256_cmpeq_epi8(v, _mm256_set1_epi8(':')),
                                            _mm256_cmpeq_epi8(v, _mm256_set1_epi8(','))));
        __m256i space = _mm256_cmpeq_epi8(_mm256_shuffle_epi8(blanks, v), v);
        __m256i control = _mm256_cmpeq_epi8(_mm256_min_epu8(v, _mm256_set1_epi8(0x1f)), v);
        unsigned shift = i * 32;
#define MASK(x) ((uint64_t)(uint32_t)_mm256_movemask_epi8(x) << shift)
        m->quote |= MASK(_mm256_cmpeq_epi8(v, _mm256_set1_epi8('"')));
        m->backslash |= MASK(_mm256_cmpeq_epi8(v, _mm256_set1_epi8('\\')));
        m->op |= MASK(op);
        m->space |= MASK(space);
        m->control |= MASK(control);
        m->high |= MASK(v);
#undef MASK
    }
}

__attribute__((target("pclmul"))) static inline uint64_t prefix_xor_clmul(uint64_t bits)
{
    __m128i ones = _mm_set1_epi8((char)0xff);
    __m128i product = _mm_clmulepi64_si128(_mm_set_epi64x(0, (long long)bits), ones, 0);
    return (uint64_t)_mm_cvtsi128_si64(product);
}

#define KERNEL_NAME index_avx2
#define KERNEL_TARGET __attribute__((target("avx2,pclmul,bmi,popcnt")))
#define KERNEL_CLASSIFY classify_avx2
#define KERNEL_PREFIX_XOR prefix_xor_clmul
#include "codec/json_index_kernel.h"

#endif

static bool kernel_available(enum json_kernel kernel)
{
#if defined(__x86_64__)
    if (kernel == JSON_KERNEL_AVX2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("pclmul") &&
               __builtin_cpu_supports("bmi") && __builtin_cpu_supports("popcnt");
    if (kernel == JSON_KERNEL_SSE42)
        return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
#endif
    return kernel == JSON_KERNEL_PORTABLE;
}

static enum json_kernel kernel_best(void)
{
    for (int kernel = JSON_KERNEL_AVX2; kernel > JSON_KERNEL_PORTABLE; kernel--) {
        if (kernel_available((enum json_kernel)kernel))
            return (enum json_kernel)kernel;
    }
    return JSON_KERNEL_PORTABLE;
}

const char *json_index_kernel_name(void)
{
    static const char *const names[] = {"portable", "sse4.2", "avx2"};
    return names[kernel_best()];
}

void json_index_init(struct json_index *index)
{
    memset(index, 0, sizeof(*index));
}

void json_index_deinit(struct json_index *index)
{
    free(index->pos);
    memset(index, 0, sizeof(*index));
}

/* Room for need entries; the content is not kept. */
static bool index_reserve(struct json_index *index, size_t need)
{
    if (need <= index->cap)
        return true;
    free(index->pos);
    index->pos = malloc(need * sizeof(uint32_t));
    index->cap = index->pos == NULL ? 0 : (uint32_t)need;
    return index->pos != NULL;
}

static bool index_build(struct json_index *index, struct slice text, enum json_kernel kernel)
{
    uint32_t *end;

    index->count = 0;
    if (text.len > JSON_INDEX_TEXT_MAX || !index_reserve(index, text.len + 72))
        return false;
    switch (kernel) {
#if defined(__x86_64__)
    case JSON_KERNEL_AVX2:
        end = index_avx2(text, index->pos, index);
        break;
    case JSON_KERNEL_SSE42:
        end = index_sse42(text, index->pos, index);
        break;
#endif
    default:
        end = index_portable(text, index->pos, index);
        break;
    }
    index->count = (uint32_t)(end - index->pos);
    ASSERT(index->count <= text.len);
    ASSERT(index->count == 0 || index->pos[index->count - 1] < text.len);
    return true;
}

bool json_index_build(struct json_index *index, struct slice text)
{
    return index_build(index, text, kernel_best());
}

bool json_index_build_with(struct json_index *index, struct slice text, enum json_kernel kernel)
{
    return kernel_available(kernel) && index_build(index, text, kernel);
}
