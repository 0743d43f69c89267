/*
 * Runs a fuzz target without libFuzzer: every file of the corpus folders given, and seeded
 * mutations of them.
 *
 * usage: fuzz-NAME [--mutations N] [--seed N] [FILE|FOLDER]...
 */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "base/bytebuf.h"
#include "base/random.h"
#include "fuzz.h"

enum { INPUTS_MAX = 2000, INPUT_SIZE_MAX = 1 << 20 };

static struct bytebuf inputs[INPUTS_MAX];
static size_t input_count;

static void run(struct slice bytes)
{
    struct slice copy = fuzz_copy(bytes);
    LLVMFuzzerTestOneInput(copy.data, copy.len);
    fuzz_free(copy);
}

static void load_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || input_count == INPUTS_MAX) {
        fprintf(stderr, "%s: %s\n", path, file ? "too many inputs" : strerror(errno));
        exit(2);
    }
    struct bytebuf *input = &inputs[input_count++];
    bytebuf_init(input, INPUT_SIZE_MAX);
    char block[4096];
    size_t got;
    while ((got = fread(block, 1, sizeof(block), file)) > 0)
        bytebuf_append(input, block, got);
    fclose(file);
    FUZZ_CHECK(!input->failed);
}

static void load(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    if (!S_ISDIR(info.st_mode)) {
        load_file(path);
        return;
    }
    struct dirent **names;
    int count = scandir(path, &names, NULL, alphasort);
    FUZZ_CHECK(count >= 0);
    for (int i = 0; i < count; i++) {
        char file[4096];
        snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            load_file(file);
        free(names[i]);
    }
    free(names);
}

/* One small change: a byte set, a bit flipped, bytes removed, repeated, inserted or taken from
 * another input. */
static void mutate(struct random *random, struct bytebuf *buf)
{
    size_t at = buf->len ? random_below(random, buf->len) : 0;
    size_t run_len = buf->len ? random_below(random, buf->len - at) % 16 + 1 : 0;
    if (at + run_len > buf->len)
        run_len = buf->len - at;
    const struct bytebuf *other = &inputs[random_below(random, input_count)];
    static const uint8_t telling[] = {0x00, 0x01, 0x7f, 0x80, 0xff, 0xfe, '0', '"', '\n', ' '};
    switch (random_below(random, 6)) {
    case 0:
        if (buf->len > 0)
            buf->data[at] = telling[random_below(random, sizeof(telling))];
        break;
    case 1:
        if (buf->len > 0)
            buf->data[at] ^= (uint8_t)(1u << random_below(random, 8));
        break;
    case 2:
        memmove(buf->data + at, buf->data + at + run_len, buf->len - at - run_len);
        buf->len -= run_len;
        break;
    case 3: {
        uint8_t copy[16];
        memcpy(copy, buf->data + at, run_len);
        bytebuf_append(buf, copy, run_len);
        break;
    }
    case 4:
        bytebuf_append_byte(buf, telling[random_below(random, sizeof(telling))]);
        break;
    default:
        if (other->len > 0) {
            size_t from = random_below(random, other->len);
            bytebuf_append_slice(buf,
                                 slice_sub(bytebuf_slice(other), from, random_below(random, 64)));
        }
    }
}

static void run_mutations(unsigned long count, uint64_t seed)
{
    struct random random;
    random_init(&random, seed);
    struct bytebuf buf;
    bytebuf_init(&buf, 2 * INPUT_SIZE_MAX);
    FUZZ_CHECK(bytebuf_reserve(&buf, 1)); /* never a NULL pointer in what follows */
    for (unsigned long i = 0; i < count; i++) {
        bytebuf_clear(&buf);
        bytebuf_append_slice(&buf, bytebuf_slice(&inputs[random_below(&random, input_count)]));
        for (uint64_t n = random_below(&random, 4); n < 4; n++)
            mutate(&random, &buf);
        run(bytebuf_slice(&buf));
    }
    bytebuf_deinit(&buf);
}

int main(int argc, char **argv)
{
    unsigned long mutations = 0;
    uint64_t seed = 1;
    bytebuf_init(&inputs[input_count++], INPUT_SIZE_MAX); /* the empty input */
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--mutations") == 0 && i + 1 < argc)
            mutations = strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else
            load(argv[i]);
    }
    for (size_t i = 0; i < input_count; i++)
        run(bytebuf_slice(&inputs[i]));
    run_mutations(mutations, seed);
    printf("%zu inputs, %lu mutations\n", input_count, mutations);
    for (size_t i = 0; i < input_count; i++)
        bytebuf_deinit(&inputs[i]);
    return 0;
}
