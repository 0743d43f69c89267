/*
 * Recovery of a log from damaged files. A log is written once, killed at one time and closed at another; each input is a
 * list of changes to the files of one of the two. The log must then open or be refused, what it serves must be whole
 * batches in rising order, and a log that opened takes appends.
 *
 * Input: one byte (bit 0: which image), then changes: file, action, position (2 bytes), length, and for some actions
 * bytes.
 */
#include "base/bytebuf.h"
#include "base/crc32c.h"
#include "base/diag.h"
#include "fuzz.h"
#include "io/fs_sim.h"
#include "log_rig.h"

enum { FILES_MAX = 64, CHANGES_MAX = 24, FILE_MAX = 4 << 20 };

struct image_file {
    char path[FS_PATH_MAX];
    struct bytebuf bytes;
    bool removed;
};

struct image {
    struct image_file files[FILES_MAX];
    size_t count;
};

static struct image images[2]; /* killed, closed */

struct listing {
    struct fs *fs;
    const char *dir;
    struct image *image;
};

static bool load_entry(void *arg, const char *name, enum fs_kind kind)
{
    struct listing *listing = arg;
    struct image *image = listing->image;
    char path[FS_PATH_MAX];
    snprintf(path, sizeof(path), "%.500s/%.500s", listing->dir, name);
    if (kind == FS_KIND_DIR) {
        struct listing below = {listing->fs, path, image};
        FUZZ_CHECK(fs_list(listing->fs, path, load_entry, &below, NULL) == ERR_OK);
        return true;
    }
    FUZZ_CHECK(image->count < FILES_MAX);
    struct image_file *file = &image->files[image->count++];
    uint8_t *data;
    size_t len;
    FUZZ_CHECK(fs_read_all(listing->fs, path, FILE_MAX, &data, &len, NULL) == ERR_OK);
    snprintf(file->path, sizeof(file->path), "%s", path);
    bytebuf_init(&file->bytes, 2 * FILE_MAX);
    while (len > 0 && data[len - 1] == 0 &&
           len > 4096) /* zeros written ahead: one page of them will do */
        len--;
    bytebuf_append(&file->bytes, data, len);
    free(data);
    return true;
}

static void config_make(struct seglog_config *config)
{
    seglog_config_default(config);
    config->segment_bytes = 3000;
    config->index_interval_bytes = 200;
}

static void image_make(struct image *image, bool closed)
{
    struct log_rig rig;
    struct fs_sim_config disk = {.seed = 1};
    struct fs *fs = fs_sim_create(&disk);
    struct seglog_config config;
    config_make(&config);
    log_rig_start(&rig, fs);
    struct seglog *seglog = log_rig_open(&rig, "t-0", 1, &config);
    for (int i = 0; i < 40; i++) {
        struct iobuf_range batch = i % 3 ? log_rig_batch("text", 3, 1000 + i)
                                         : log_rig_producer_batch(7, 0, i / 3 * 2, 2, 1000 + i);
        enum seglog_ack ack = i % 4 ? SEGLOG_ACK_WRITTEN : SEGLOG_ACK_DURABLE;
        FUZZ_CHECK(log_rig_append(&rig, seglog, batch, ack, NULL) == ERR_OK);
    }
    if (closed) {
        log_rig_close(&rig, seglog);
        log_rig_shutdown(&rig);
    } else {
        log_rig_kill(&rig, &seglog, 1);
    }
    struct listing listing = {fs, "data", image};
    FUZZ_CHECK(fs_list(fs, "data", load_entry, &listing, NULL) == ERR_OK);
    log_rig_end(&rig);
    fs_destroy(fs);
}

/* Gives the batch at this position a right checksum, so that what lies behind it is reached. */
static void mend_batch(struct bytebuf *bytes, size_t at)
{
    if (bytes->len < BATCH_HEADER_SIZE || at > bytes->len - BATCH_HEADER_SIZE)
        return;
    uint32_t size = batch_size_peek(slice_sub(bytebuf_slice(bytes), at, SIZE_MAX));
    if (size < BATCH_HEADER_SIZE || size > bytes->len - at)
        return;
    uint32_t crc = crc32c(0, bytes->data + at + BATCH_CRC_START, size - BATCH_CRC_START);
    for (int i = 0; i < 4; i++)
        bytes->data[at + 17 + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
}

/* One change to a copy of the image. */
static void change(struct image *image, struct slice *input)
{
    struct image_file *file = &image->files[fuzz_take(input, 1) % image->count];
    struct bytebuf *bytes = &file->bytes;
    uint64_t action = fuzz_take(input, 1) % 6;
    size_t at = bytes->len ? fuzz_take(input, 2) % bytes->len : 0;
    size_t len = fuzz_take(input, 1);
    if (len > bytes->len - at)
        len = bytes->len - at;
    switch (action) {
    case 0:
        for (size_t i = 0; i < len && i < 16; i++)
            bytes->data[at + i] = (uint8_t)fuzz_take(input, 1);
        break;
    case 1:
        bytes->len = at;
        break;
    case 2:
        file->removed = true;
        break;
    case 3:
        memset(bytes->data + at, 0, len);
        break;
    case 4: {
        struct slice copy = fuzz_copy(slice_sub(bytebuf_slice(bytes), at, len));
        bytebuf_append_slice(bytes, copy);
        fuzz_free(copy);
        break;
    }
    default:
        mend_batch(bytes, at);
    }
}

static void write_files(struct fs *fs, const struct image *image)
{
    for (size_t i = 0; i < image->count; i++) {
        char dir[FS_PATH_MAX];
        snprintf(dir, sizeof(dir), "%s", image->files[i].path);
        *strrchr(dir, '/') = '\0';
        FUZZ_CHECK(fs_mkdir_all(fs, dir, NULL) == ERR_OK);
        struct fs_file *file;
        if (image->files[i].removed)
            continue;
        FUZZ_CHECK(fs_open(fs, image->files[i].path, FS_READ | FS_WRITE | FS_CREATE, &file, NULL) ==
                   ERR_OK);
        FUZZ_CHECK(fs_pwrite(file, image->files[i].bytes.data, image->files[i].bytes.len, 0,
                             NULL) == ERR_OK);
        FUZZ_CHECK(fs_sync(file, NULL) == ERR_OK);
        fs_close(file);
    }
}

/* Everything that the log serves: whole batches with right checksums, offsets rising. */
static void check_content(struct log_rig *rig, struct seglog *seglog)
{
    struct seglog_bounds bounds = seglog_bounds(seglog);
    FUZZ_CHECK(bounds.start.value >= 0 && bounds.start.value <= bounds.high_watermark.value);
    FUZZ_CHECK(bounds.high_watermark.value <= bounds.end.value);
    struct bytebuf content;
    bytebuf_init(&content, 64 << 20);
    enum err error = log_rig_read_all(rig, seglog, bounds.start.value, &content);
    FUZZ_CHECK(error == ERR_OK || error == ERR_CORRUPT || error == ERR_STORAGE);
    struct slice rest = bytebuf_slice(&content);
    int64_t next = 0;
    while (rest.len > 0) {
        struct batch_header header;
        FUZZ_CHECK(batch_header_read(rest, &header, NULL) == ERR_OK);
        FUZZ_CHECK(batch_crc_holds(slice_sub(rest, 0, header.size)));
        /* a base offset is outside of the checksum: a damaged one may make batches overlap, but never go back */
        FUZZ_CHECK(batch_end_offset(&header).value > next);
        next = batch_end_offset(&header).value;
        rest = slice_sub(rest, header.size, SIZE_MAX);
    }
    FUZZ_CHECK(next <= bounds.high_watermark.value);
    bytebuf_deinit(&content);
    struct seglog_find find;
    log_rig_find(rig, seglog, 1010, &find);
    log_rig_find(rig, seglog, SEGLOG_FIND_MAX, &find);
}

static void recover(struct fs *fs)
{
    struct log_rig rig;
    struct seglog_config config;
    struct seglog_open open;
    config_make(&config);
    log_rig_prepare(&rig, fs);
    if (seglog_store_open(fs, rig.dir, &rig.store, NULL) != ERR_OK) {
        log_rig_end(&rig);
        return;
    }
    FUZZ_CHECK(commit_create(rig.store, &rig.reactor, &rig.config, &rig.commit) == ERR_OK);
    if (log_rig_open_err(&rig, "t-0", 1, &config, &open) == ERR_OK) {
        check_content(&rig, open.seglog);
        struct seglog_append append;
        int64_t end = seglog_bounds(open.seglog).end.value;
        if (log_rig_append(&rig, open.seglog, log_rig_batch("new", 1, 5000), SEGLOG_ACK_DURABLE,
                           &append) == ERR_OK)
            FUZZ_CHECK(append.base_offset.value == end);
        check_content(&rig, open.seglog);
        log_rig_close(&rig, open.seglog);
    }
    log_rig_end(&rig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool made;
    if (!made) {
        diag_level_set(DIAG_ERROR);
        image_make(&images[0], false);
        image_make(&images[1], true);
        made = true;
    }
    struct slice input = slice_make(data, size);
    const struct image *source = &images[fuzz_take(&input, 1) & 1];
    struct image *image = calloc(1, sizeof(*image));
    FUZZ_CHECK(image);
    image->count = source->count;
    for (size_t i = 0; i < source->count; i++) {
        memcpy(image->files[i].path, source->files[i].path, sizeof(image->files[i].path));
        bytebuf_init(&image->files[i].bytes, 2 * FILE_MAX);
        FUZZ_CHECK(bytebuf_reserve(&image->files[i].bytes, 1));
        bytebuf_append_slice(&image->files[i].bytes, bytebuf_slice(&source->files[i].bytes));
    }
    for (int i = 0; i < CHANGES_MAX && input.len > 0; i++)
        change(image, &input);
    struct fs_sim_config disk = {.seed = 1};
    struct fs *fs = fs_sim_create(&disk);
    write_files(fs, image);
    recover(fs);
    fs_destroy(fs);
    for (size_t i = 0; i < image->count; i++)
        bytebuf_deinit(&image->files[i].bytes);
    free(image);
    return 0;
}
