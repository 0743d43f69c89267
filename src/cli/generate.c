/*
 * `weir generate telemetry`: a seeded stream of sensor readings as JSON lines on stdout.
 *
 * The same seed and options give the same bytes everywhere. An event has eight fields and about
 * 190 bytes; 100 events share a millisecond of event time; one type in ten is CO2 and values are
 * uniform below 100, so that "CO2 above 45" keeps about 5.5 %.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/arena.h"
#include "base/random.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/progress.h"

#define EVENTS_PER_MS 100
#define FIRST_EVENT_MS INT64_C(1767225600000) /* 2026-01-01T00:00:00Z */

struct telemetry {
    struct random random;
    int64_t devices;
    int64_t malformed; /* in 10,000 */
};

static int print_event(const struct telemetry *telemetry, struct random *random, int64_t seq)
{
    static const char *const types[] = {"CO2",   "Temperature", "Humidity", "Pressure", "Noise",
                                        "Light", "Motion",      "Voltage",  "Current",  "Flow"};
    int64_t at_ms = FIRST_EVENT_MS + seq / EVENTS_PER_MS;
    time_t seconds = (time_t)(at_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    uint64_t device = random_below(random, (uint64_t)telemetry->devices);
    const char *type = types[random_below(random, sizeof(types) / sizeof(types[0]))];
    uint64_t hundredths = random_below(random, 10000);
    uint64_t high = random_u64(random), low = random_u64(random);
    bool broken = (int64_t)random_below(random, 10000) < telemetry->malformed;
    return printf(
        "{\"deviceId\":\"device-%06" PRIu64 "\",\"type\":\"%s\",\"value\":%" PRIu64 ".%" PRIu64
        "%s,\"createdAt\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\",\"seq\":%" PRId64
        ",\"eventId\":\"%08" PRIx64 "-%04" PRIx64 "-4%03" PRIx64 "-%04" PRIx64 "-%012" PRIx64
        "\",\"site\":\"site-%02" PRIu64 "\",\"ok\":%s%s\n",
        device, type, hundredths / 100, hundredths % 100 / 10,
        hundredths % 10 ? (char[]){(char)('0' + hundredths % 10), 0} : "", utc.tm_year + 1900,
        utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, (int)(at_ms % 1000), seq,
        high >> 32, high >> 16 & 0xffff, high & 0xfff, (low >> 48 & 0x3fff) | 0x8000,
        low & 0xffffffffffff, device % 50, low >> 63 ? "true" : "false", broken ? "" : "}");
}

static int generate_telemetry(int argc, char **argv)
{
    int64_t count = 1000, seed = 1;
    struct telemetry telemetry = {.devices = 1000};
    const struct arg_option options[] = {
        {"count", 'n', ARG_INT, &count, "N", "events to write (default 1000)", NULL, 0, INT64_MAX},
        {"seed", 's', ARG_INT, &seed, "SEED", "the same seed gives the same bytes (default 1)",
         NULL, 0, INT64_MAX},
        {"devices", 0, ARG_INT, &telemetry.devices, "N", "different devices (default 1000)", NULL,
         1, 1000000},
        {"malformed", 0, ARG_INT, &telemetry.malformed, "N", "broken events in 10,000 (default 0)",
         NULL, 0, 10000},
        {0},
    };
    const struct arg_command command = {
        "generate telemetry",
        "",
        "Writes sensor readings as JSON lines.",
        "example:\n  weir generate telemetry -n 100000 | weir produce telemetry",
        0,
        0,
        options};
    struct arg_operands operands;
    enum args_result result = args_parse(&command, argc, argv, &operands);
    if (result != ARGS_OK)
        return result == ARGS_DONE ? 0 : 2;
    struct progress progress;
    progress_init(&progress, "events", (uint64_t)count);
    random_init(&telemetry.random, (uint64_t)seed);
    for (int64_t seq = 0; seq < count; seq++) {
        if (print_event(&telemetry, &telemetry.random, seq) < 0)
            break;
        if (seq % 4096 == 0)
            progress_update(&progress, (uint64_t)seq);
    }
    progress_end(&progress);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("weir generate: standard output");
        return 1;
    }
    return 0;
}

int cli_generate(int argc, char **argv)
{
    static const struct cli_verb verbs[] = {
        {"telemetry", generate_telemetry, "sensor readings as JSON lines"},
        {NULL, NULL, NULL},
    };
    return cli_dispatch("generate", verbs, argc, argv);
}
