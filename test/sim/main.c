/*
 * sim: runs seeds of the simulated node and prints those that break a promise, with the command that repeats each.
 *
 * Every seed runs in a child process: a node that loses its power in the middle of things leaves its memory behind.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "world.h"

static const struct scenario *const scenarios[] = {&scenario_log,  &scenario_kafka, &scenario_blob,
                                                   &scenario_http, &scenario_group, &scenario_job,
                                                   &scenario_amqp};

enum { SCENARIOS = sizeof(scenarios) / sizeof(scenarios[0]), SEED_SECONDS_MAX = 120 };

struct options {
    const char *program;
    const struct scenario *scenario; /* NULL: all */
    uint64_t first;
    uint64_t last;
    bool verbose;
    bool twice;
};

static void usage(void)
{
    fprintf(
        stderr,
        "usage: sim [--scenario NAME] [--seed N | --seeds A..B] [--twice] [--verbose]\nscenarios:");
    for (unsigned i = 0; i < SCENARIOS; i++)
        fprintf(stderr, " %s", scenarios[i]->name);
    fputc('\n', stderr);
    exit(2);
}

static bool number_read(const char *text, size_t len, uint64_t *ret_value)
{
    if (len == 0 || len > 18)
        return false;
    *ret_value = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *ret_value = *ret_value * 10 + (uint64_t)(text[i] - '0');
    }
    return true;
}

static bool seeds_read(const char *text, struct options *options)
{
    const char *dots = strstr(text, "..");
    if (!dots)
        return false;
    return number_read(text, (size_t)(dots - text), &options->first) &&
           number_read(dots + 2, strlen(dots + 2), &options->last) &&
           options->first <= options->last;
}

static bool scenario_read(const char *name, struct options *options)
{
    for (unsigned i = 0; i < SCENARIOS; i++) {
        if (strcmp(scenarios[i]->name, name) == 0)
            options->scenario = scenarios[i];
    }
    return options->scenario != NULL;
}

static void options_read(int argc, char **argv, struct options *options)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        bool good = false;
        if (strcmp(argv[i], "--verbose") == 0) {
            options->verbose = true;
            continue;
        }
        if (strcmp(argv[i], "--twice") == 0) {
            options->twice = true;
            continue;
        }
        if (value && strcmp(argv[i], "--seed") == 0) {
            good = number_read(value, strlen(value), &options->first);
            options->last = options->first;
        } else if (value && strcmp(argv[i], "--seeds") == 0) {
            good = seeds_read(value, options);
        } else if (value && strcmp(argv[i], "--scenario") == 0) {
            good = scenario_read(value, options);
        }
        if (!good)
            usage();
        i++;
    }
}

/* One life in a child process. True when all held; its trace says what happened. */
static bool seed_live(const struct options *options, const struct scenario *scenario, uint64_t seed,
                      uint64_t *ret_trace)
{
    int pipe_fds[2];
    *ret_trace = 0;
    fflush(NULL);
    if (pipe(pipe_fds) != 0)
        return false;
    pid_t child = fork();
    if (child == 0) {
        alarm(SEED_SECONDS_MAX);
        uint64_t trace = world_run(scenario, seed, options->verbose);
        _exit(write(pipe_fds[1], &trace, sizeof(trace)) == (ssize_t)sizeof(trace) ? 0 : 1);
    }
    close(pipe_fds[1]);
    bool told = read(pipe_fds[0], ret_trace, sizeof(*ret_trace)) == (ssize_t)sizeof(*ret_trace);
    close(pipe_fds[0]);
    int status = 0;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (child > 0 && WIFSIGNALED(status))
        fprintf(stderr, "scenario %s, seed %llu: ended by signal %d%s\n", scenario->name,
                (unsigned long long)seed, WTERMSIG(status),
                WTERMSIG(status) == SIGALRM ? " (no end in sight)" : "");
    return told && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* True when the seed held, and with --twice, when it lived the same life again. */
static bool seed_run(const struct options *options, const struct scenario *scenario, uint64_t seed)
{
    uint64_t first;
    uint64_t second;
    bool good = seed_live(options, scenario, seed, &first);
    if (good && options->twice) {
        good = seed_live(options, scenario, seed, &second) && first == second;
        if (!good)
            fprintf(stderr, "scenario %s, seed %llu: the second run differs\n", scenario->name,
                    (unsigned long long)seed);
    }
    if (!good)
        printf("repeat with: %s --scenario %s --seed %llu --verbose\n", options->program,
               scenario->name, (unsigned long long)seed);
    return good;
}

int main(int argc, char **argv)
{
    struct options options = {.program = argv[0], .first = 1, .last = 20};
    options_read(argc, argv, &options);
    struct timespec start;
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    uint64_t seeds = 0;
    uint64_t failed = 0;
    for (unsigned i = 0; i < SCENARIOS; i++) {
        if (options.scenario && options.scenario != scenarios[i])
            continue;
        for (uint64_t seed = options.first; seed <= options.last; seed++, seeds++)
            failed += !seed_run(&options, scenarios[i], seed);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("sim: %llu runs, %llu failed, %.1f s\n", (unsigned long long)seeds,
           (unsigned long long)failed,
           (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9);
    return failed == 0 ? 0 : 1;
}
