/*
 * Role: decides how a shard makes many partitions durable at once (docs/durability.md).
 *
 * Two layers. "files": bare files written ahead with zeros, one 16 KiB append per partition and round, made durable by
 * fdatasync of each file in turn, by the same from four threads, or by a copy in one journal file with one fdatasync.
 * "log": the real logs and commit rounds of one shard, every partition with one append waiting, with each way forced.
 *
 *     commit_bench files|log DIR PARTITIONS SECONDS    prints one line per way: rounds, appends/s, CPU us, p50, p99
 *
 * Ownership: a program of its own. Failure modes: any error ends it with status 1.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/numtext.h"
#include "io/fs.h"
#include "io/reactor.h"
#include "io/shard.h"
#include "seglog/seglog.h"

enum { BATCH_BYTES = 16 * 1024, PARTITIONS_MAX = 1024, SAMPLES_MAX = 1 << 20, THREADS = 4 };

static uint64_t samples[SAMPLES_MAX];
static uint32_t sample_count;

static uint64_t clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void sample(uint64_t us)
{
    if (sample_count < SAMPLES_MAX)
        samples[sample_count++] = us;
}

static int sample_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void report(const char *way, unsigned partitions, uint64_t appends, uint64_t wall,
                   uint64_t cpu)
{
    qsort(samples, sample_count, sizeof(samples[0]), sample_compare);
    if (sample_count == 0 || appends == 0)
        die("nothing measured");
    printf("%-10s partitions=%u appends_s=%.0f cpu_us=%.1f p50_us=%" PRIu64 " p99_us=%" PRIu64 "\n",
           way, partitions, (double)appends * 1e6 / (double)wall, (double)cpu / (double)appends,
           samples[sample_count / 2], samples[(uint64_t)sample_count * 99 / 100]);
    fflush(stdout);
    sample_count = 0;
}

/* ---- bare files ---- */

struct files {
    int fd[PARTITIONS_MAX];
    int journal;
    unsigned partitions;
    uint64_t pos;
    uint64_t journal_pos;
    uint64_t room; /* bytes written ahead per file */
    uint64_t journal_room;
};

static uint8_t block[BATCH_BYTES];

static int file_make(const char *dir, unsigned number, uint64_t bytes)
{
    static uint8_t zeros[1024 * 1024];
    char path[512];
    snprintf(path, sizeof(path), "%s/file-%u", dir, number);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        die(path);
    for (uint64_t at = 0; at < bytes; at += sizeof(zeros))
        if (pwrite(fd, zeros, sizeof(zeros), (off_t)at) != (ssize_t)sizeof(zeros))
            die("zeros");
    if (fdatasync(fd) != 0)
        die("fdatasync");
    return fd;
}

static void files_write(struct files *files)
{
    for (unsigned i = 0; i < files->partitions; i++)
        if (pwrite(files->fd[i], block, sizeof(block), (off_t)files->pos) != sizeof(block))
            die("pwrite");
    files->pos = (files->pos + sizeof(block)) % files->room;
}

static void files_each(struct files *files)
{
    files_write(files);
    for (unsigned i = 0; i < files->partitions; i++)
        if (fdatasync(files->fd[i]) != 0)
            die("fdatasync");
}

struct share {
    struct files *files;
    unsigned first;
};

static void *share_sync(void *arg)
{
    struct share *share = arg;
    for (unsigned i = share->first; i < share->files->partitions; i += THREADS)
        if (fdatasync(share->files->fd[i]) != 0)
            die("fdatasync");
    return NULL;
}

static void files_parallel(struct files *files)
{
    pthread_t threads[THREADS];
    struct share shares[THREADS];
    files_write(files);
    for (unsigned i = 0; i < THREADS; i++) {
        shares[i] = (struct share){files, i};
        if (pthread_create(&threads[i], NULL, share_sync, &shares[i]) != 0)
            die("pthread_create");
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

/* Segments are synced once per journal file, as the flusher does; its cost is in the figures. */
static void files_journal(struct files *files)
{
    files_write(files);
    uint64_t need = (uint64_t)files->partitions * sizeof(block);
    if (files->journal_pos + need > files->journal_room) {
        files->journal_pos = 0;
        for (unsigned i = 0; i < files->partitions; i++)
            if (fdatasync(files->fd[i]) != 0)
                die("fdatasync");
    }
    for (unsigned i = 0; i < files->partitions; i++) {
        if (pwrite(files->journal, block, sizeof(block), (off_t)files->journal_pos) !=
            sizeof(block))
            die("pwrite");
        files->journal_pos += sizeof(block);
    }
    if (fdatasync(files->journal) != 0)
        die("fdatasync");
}

static void files_measure(struct files *files, const char *way, void (*round)(struct files *),
                          unsigned seconds)
{
    uint64_t start = clock_us(CLOCK_MONOTONIC), cpu = cpu_us(), appends = 0, now = start;
    while (now - start < (uint64_t)seconds * 1000000) {
        round(files);
        uint64_t end = clock_us(CLOCK_MONOTONIC);
        sample(end - now);
        now = end;
        appends += files->partitions;
    }
    report(way, files->partitions, appends, now - start, cpu_us() - cpu);
}

static void files_run(const char *dir, unsigned partitions, unsigned seconds)
{
    static struct files files;
    files.partitions = partitions;
    files.room = 1024 * 1024;
    files.journal_room = 64 * 1024 * 1024;
    for (unsigned i = 0; i < partitions; i++)
        files.fd[i] = file_make(dir, i, files.room);
    files.journal = file_make(dir, PARTITIONS_MAX, files.journal_room);
    files_measure(&files, "each", files_each, seconds);
    files_measure(&files, "parallel", files_parallel, seconds);
    files_measure(&files, "journal", files_journal, seconds);
}

/* ---- the real logs ---- */

struct log_bench;

struct slot {
    struct log_bench *bench;
    struct seglog_open open;
    struct seglog_append append;
    struct seglog_op op;
    struct seglog *seglog;
    char name[32];
    uint64_t sent_us;
};

struct log_bench {
    struct shard *shard;
    struct shards *shards;
    struct seglog_store *store;
    struct commit *commit;
    struct slot slots[PARTITIONS_MAX];
    unsigned partitions;
    unsigned opened;
    unsigned closed;
    enum seglog_ack ack;
    uint64_t appends;
    uint64_t start_us;
    uint64_t end_us;
    uint64_t cpu;
};

static struct iobuf_range bench_batch(void)
{
    struct batch_builder builder;
    struct iobuf_range range;
    static uint8_t value[BATCH_BYTES - 128];
    struct batch_build_record record = {.timestamp_ms = 1700000000000,
                                        .value = slice_make(value, sizeof(value))};
    batch_builder_init(&builder, 2 * BATCH_BYTES);
    if (batch_builder_add(&builder, &record) != ERR_OK)
        die("batch");
    batch_builder_finish(&builder, &range);
    return range;
}

static void slot_send(struct slot *slot);

static void slot_closed(struct seglog_op *op)
{
    struct slot *slot = CONTAINER_OF(op, struct slot, op);
    if (++slot->bench->closed == slot->bench->partitions)
        shards_stop(slot->bench->shards);
}

static void slot_done(struct seglog_append *append)
{
    struct slot *slot = CONTAINER_OF(append, struct slot, append);
    uint64_t now = clock_us(CLOCK_MONOTONIC);
    if (append->err != ERR_OK)
        die("append");
    sample(now - slot->sent_us);
    slot->bench->appends++;
    if (now < slot->bench->end_us) {
        slot_send(slot);
        return;
    }
    slot->op.on_done = slot_closed;
    seglog_delete(slot->seglog, &slot->op);
}

static void slot_send(struct slot *slot)
{
    struct err_info info = {.text = ""};
    slot->sent_us = clock_us(CLOCK_MONOTONIC);
    slot->append = (struct seglog_append){
        .batch = bench_batch(), .ack = slot->bench->ack, .on_done = slot_done};
    if (seglog_append(slot->seglog, &slot->append, &info) != ERR_OK) {
        fprintf(stderr, "append: %s\n", info.text);
        exit(1);
    }
}

static void slot_opened(struct seglog_open *open)
{
    struct slot *slot = CONTAINER_OF(open, struct slot, open);
    struct log_bench *bench = slot->bench;
    if (open->err != ERR_OK)
        die(open->info.text);
    slot->seglog = open->seglog;
    if (++bench->opened < bench->partitions)
        return;
    uint64_t seconds = bench->end_us;
    bench->cpu = cpu_us();
    bench->start_us = clock_us(CLOCK_MONOTONIC);
    bench->end_us = bench->start_us + seconds * 1000000;
    for (unsigned i = 0; i < bench->partitions; i++)
        slot_send(&bench->slots[i]);
}

static void log_measure(const char *dir, const char *way, enum seglog_ack ack, uint32_t direct_max,
                        unsigned partitions, unsigned seconds)
{
    static struct log_bench bench;
    memset(&bench, 0, sizeof(bench));
    struct err_info info = {.text = ""};
    struct fs *fs = fs_posix_create();
    struct shards_config config = {.count = 1, .fs = fs};
    const char *journal = getenv("WEIR_JOURNAL_MIB");
    int64_t mib = 0;
    if (journal && !numtext_read_int64(slice_cstr(journal), &mib))
        die("WEIR_JOURNAL_MIB");
    struct commit_config commit = {.direct_files_max = direct_max,
                                   .journal_bytes = (uint64_t)mib << 20,
                                   .direct_bytes_min = direct_max == 1 ? 1 << 30 : 0};
    bench.partitions = partitions;
    bench.ack = ack;
    bench.end_us = seconds;
    if (!fs || shards_create(&config, &bench.shards, &info) != ERR_OK ||
        seglog_store_open(fs, dir, &bench.store, &info) != ERR_OK)
        die(info.text);
    bench.shard = shards_get(bench.shards, 0);
    if (commit_create(bench.store, bench.shard->reactor, &commit, &bench.commit) != ERR_OK)
        die("commit");
    for (unsigned i = 0; i < partitions; i++) {
        struct slot *slot = &bench.slots[i];
        slot->bench = &bench;
        snprintf(slot->name, sizeof(slot->name), "bench-%u", i);
        slot->open = (struct seglog_open){.commit = bench.commit,
                                          .name = slot->name,
                                          .id = {.topic_id = {(uint8_t)clock_us(CLOCK_REALTIME),
                                                              (uint8_t)direct_max, (uint8_t)ack},
                                                 .partition = (int32_t)i},
                                          .on_done = slot_opened};
        seglog_config_default(&slot->open.config);
        seglog_open_start(&slot->open);
    }
    if (shards_run(bench.shards, NULL, NULL, &info) != ERR_OK)
        die(info.text);
    struct commit_stats stats;
    commit_stats_get(bench.commit, &stats);
    report(way, partitions, bench.appends, clock_us(CLOCK_MONOTONIC) - bench.start_us,
           cpu_us() - bench.cpu);
    printf("           rounds=%" PRIu64 " segment_syncs=%" PRIu64 " journal_syncs=%" PRIu64 "\n",
           stats.rounds, stats.segment_syncs, stats.journal_syncs);
    shards_destroy(bench.shards);
    commit_destroy(bench.commit);
    seglog_store_close(bench.store);
    fs_destroy(fs);
}

int main(int argc, char **argv)
{
    int64_t partitions = 0, seconds = 0;
    if (argc != 5 || !numtext_read_int64(slice_cstr(argv[3]), &partitions) || partitions < 1 ||
        partitions > PARTITIONS_MAX || !numtext_read_int64(slice_cstr(argv[4]), &seconds) ||
        seconds < 1) {
        fprintf(stderr, "usage: commit_bench files|log DIR PARTITIONS SECONDS\n");
        return 2;
    }
    unsigned count = (unsigned)partitions, span = (unsigned)seconds;
    if (strcmp(argv[1], "files") == 0) {
        files_run(argv[2], count, span);
        return 0;
    }
    log_measure(argv[2], "acks=1", SEGLOG_ACK_WRITTEN, 0, count, span);
    log_measure(argv[2], "direct", SEGLOG_ACK_DURABLE, UINT32_MAX, count, span);
    log_measure(argv[2], "journal", SEGLOG_ACK_DURABLE, 1, count, span);
    log_measure(argv[2], "default", SEGLOG_ACK_DURABLE, 0, count, span);
    return 0;
}
