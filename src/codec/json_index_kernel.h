/*
 * The indexing loop, included once for each instruction set (no include guard on purpose).
 *
 * The includer defines KERNEL_NAME (function to make), KERNEL_TARGET (attribute or nothing),
 * KERNEL_CLASSIFY (fills a json_masks from 64 bytes) and KERNEL_PREFIX_XOR (bit i of the answer:
 * parity of bits 0..i).
 */
KERNEL_TARGET static uint32_t *KERNEL_NAME(struct slice text, uint32_t *out,
                                           struct json_index *index)
{
    uint64_t escape_carry = 0;
    uint64_t string_carry = 0;
    uint64_t scalar_carry = 0;
    uint64_t backslashes = 0;
    uint64_t high = 0;
    uint64_t control = 0;
    uint8_t tail[64];

    for (size_t base = 0; base < text.len; base += 64) {
        const uint8_t *block = text.data + base;
        if (text.len - base < 64) {
            memset(tail, ' ', sizeof(tail));
            memcpy(tail, block, text.len - base);
            block = tail;
        }
        struct json_masks m;
        KERNEL_CLASSIFY(block, &m);
        uint64_t escaped = escape_carry;
        if (m.backslash | escape_carry)
            escaped = json_escaped_mask(m.backslash, &escape_carry);
        uint64_t quotes = m.quote & ~escaped;
        uint64_t in_string = KERNEL_PREFIX_XOR(quotes) ^ string_carry;
        string_carry = (uint64_t)((int64_t)in_string >> 63);
        uint64_t scalar = ~(m.op | m.space | quotes | in_string);
        uint64_t starts = scalar & ~((scalar << 1) | scalar_carry);
        scalar_carry = scalar >> 63;
        uint64_t tokens = (m.op & ~in_string) | quotes | starts;
        backslashes |= m.backslash;
        high |= m.high;
        control |= m.control & in_string;
        out = json_emit(out, (uint32_t)base, tokens);
    }
    index->has_backslash = backslashes != 0;
    index->has_high = high != 0;
    index->has_control = control != 0;
    index->has_open_string = string_carry != 0;
    return out;
}
#undef KERNEL_NAME
#undef KERNEL_TARGET
#undef KERNEL_CLASSIFY
#undef KERNEL_PREFIX_XOR
