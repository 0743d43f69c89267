/*
 * Number conversions against the C++ library's to_chars and from_chars.
 *
 * usage: numtext-oracle [COUNT [SEED]]   COUNT random bit patterns, and as many random decimals
 */
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <system_error>

extern "C" {
#include "base/numtext.h"
}

namespace
{

[[noreturn]] void die(const char *what, const std::string &text, uint64_t bits)
{
    std::fprintf(stderr, "%s: \"%s\" bits %016llx\n", what, text.c_str(), (unsigned long long)bits);
    std::exit(1);
}

double from_bits(uint64_t bits)
{
    double value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}

uint64_t to_bits(double value)
{
    uint64_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    return bits;
}

/* Digits without leading and trailing zeros, and the exponent that makes them 0.digits: layouts do
 * not matter. */
struct canonical {
    char digits[32];
    int count = 0;
    int point = 0;
};

canonical canonical_of(const char *text, size_t len)
{
    canonical c;
    bool behind = false;
    int exponent = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '.') {
            behind = true;
        } else if (text[i] == 'e') {
            exponent = std::atoi(std::string(text + i + 1, len - i - 1).c_str());
            break;
        } else if (text[i] != '-') {
            if (c.count > 0 || text[i] != '0') {
                if (c.count < 32)
                    c.digits[c.count++] = text[i];
                c.point += !behind;
            } else if (behind) {
                c.point--;
            }
        }
    }
    while (c.count > 0 && c.digits[c.count - 1] == '0')
        c.count--;
    c.point += exponent;
    return c;
}

void check_read(const char *text, size_t len)
{
    double ours = -1;
    double theirs = -1;
    if (!numtext_read_double(slice_make(text, len), &ours))
        die("refused", std::string(text, len), 0);
    const char *begin = text + (*text == '+');
    auto result = std::from_chars(begin, text + len, theirs);
    if (result.ec ==
        std::errc::result_out_of_range) { /* they leave the value alone: too large or too small */
        double magnitude = std::fabs(ours);
        if (magnitude != 0 && !std::isinf(magnitude) && magnitude >= 1e-307)
            die("range", std::string(text, len), to_bits(ours));
        return;
    }
    if (result.ec != std::errc() || to_bits(ours) != to_bits(theirs))
        die("read", std::string(text, len), to_bits(ours));
}

void check_write(uint64_t bits)
{
    double value = from_bits(bits);
    char ours[NUMTEXT_DOUBLE_MAX];
    size_t len = numtext_write_double(ours, value);
    if (!std::isfinite(value) || value == 0)
        return;
    char theirs[64];
    auto end =
        std::to_chars(theirs, theirs + sizeof(theirs), value, std::chars_format::scientific).ptr;
    canonical a = canonical_of(ours, len);
    canonical b = canonical_of(theirs, (size_t)(end - theirs));
    if (a.count != b.count || a.point != b.point ||
        std::memcmp(a.digits, b.digits, (size_t)a.count) != 0 ||
        (ours[0] == '-') != (theirs[0] == '-'))
        die("write", std::string(ours, len), bits);
    double back;
    if (!numtext_read_double(slice_make(ours, len), &back) || to_bits(back) != bits)
        die("round trip", std::string(ours, len), bits);
    check_read(theirs, (size_t)(end - theirs));
}

/* 1 to 25 digits with a point somewhere and an exponent that keeps most of them in range. */
void check_random_decimal(std::mt19937_64 &random)
{
    char text[64];
    size_t len = 0;
    uint64_t r = random();
    int digits = 1 + (int)(r % 25);
    int point = (int)(r >> 8 & 31);
    if (r >> 16 & 1)
        text[len++] = '-';
    uint64_t source = random();
    for (int i = 0; i < digits; i++) {
        if (i == point)
            text[len++] = '.';
        text[len++] = (char)('0' + source % 10);
        source = source / 10 ? source / 10 : random();
    }
    int exponent = r >> 17 & 3 ? (int)(r >> 20 & 31) - 16 : (int)((r >> 20) % 680) - 350;
    len += (size_t)std::snprintf(text + len, sizeof(text) - len, "e%d", exponent);
    check_read(text, len);
}

/* The exact decimal midpoint above a double, and texts just below and above it. */
void check_midpoint(uint64_t bits)
{
    double value = std::fabs(from_bits(bits));
    double next = from_bits(to_bits(value) + 1);
    if (!std::isfinite(value) || !std::isfinite(next))
        return;
    long double middle =
        ((long double)value + (long double)next) / 2; /* exact: 64 bits of significand */
    char text[1024];
    size_t len = (size_t)std::snprintf(text, sizeof(text), "%.780Le", middle);
    check_read(text, len);
    std::string digits(text, len);
    size_t e = digits.find('e');
    std::string above = digits.substr(0, e) + std::string(300, '0') + "1" + digits.substr(e);
    check_read(above.c_str(), above.size());
    double got_above;
    numtext_read_double(slice_make(above.c_str(), above.size()), &got_above);
    if (to_bits(got_above) != to_bits(next))
        die("above midpoint", above, to_bits(next));
    std::string below = digits.substr(0, e);
    size_t last = below.find_last_not_of("0.");
    below[last]--;
    below = below.substr(0, last + 1) + std::string(700, '9') + digits.substr(e);
    double got_below;
    numtext_read_double(slice_make(below.c_str(), below.size()), &got_below);
    if (to_bits(got_below) != to_bits(value))
        die("below midpoint", below, to_bits(value));
}

} // namespace

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1000000;
    uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
    std::mt19937_64 random(seed);
    for (uint64_t i = 0; i < count; i++)
        check_write(random());
    for (uint64_t i = 0; i < count; i++)
        check_random_decimal(random);
    for (uint64_t exponent = 0; exponent < 2047; exponent++) { /* the ends of every binade */
        for (int64_t near = -2; near <= 2; near++)
            check_write((exponent << 52) + (uint64_t)near);
    }
    for (uint64_t i = 0; i < 5000 && i < count; i++) {
        check_midpoint(random());
        check_midpoint(random() >> (12 + random() % 52)); /* subnormal */
    }
    for (uint64_t i = 0; i < count / 10;
         i++) { /* what data looks like: short decimals and integers */
        char text[64];
        int len =
            std::snprintf(text, sizeof(text), "%lld.%0*llu", (long long)(random() % 20000) - 10000,
                          (int)(1 + i % 6), (unsigned long long)(random() % 10));
        check_read(text, (size_t)len);
        check_write(to_bits((double)(int64_t)random()));
        check_write(to_bits((double)(random() % 1000000) / 100));
    }
    std::printf("%llu bit patterns and decimals agree\n", (unsigned long long)count);
    return 0;
}
