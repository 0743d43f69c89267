/*
 * Entry point: finds the command that the first words name.
 */
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "cli/args.h"
#include "cli/cli.h"

#define VERBS_MAX 32

static void print_verbs(FILE *out, const char *noun, const struct cli_verb *verbs)
{
    fprintf(out, "usage: weir %s%sCOMMAND [arguments]\n\ncommands:\n", noun, noun[0] ? " " : "");
    for (const struct cli_verb *verb = verbs; verb->name; verb++)
        fprintf(out, "  %-10s %s\n", verb->name, verb->summary);
    fprintf(out, "\n'weir %s%sCOMMAND --help' tells more about each.\n", noun, noun[0] ? " " : "");
}

int cli_dispatch(const char *noun, const struct cli_verb *verbs, int argc, char **argv)
{
    const char *names[VERBS_MAX];
    size_t count = 0;
    if (argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)) {
        print_verbs(stdout, noun, verbs);
        return 0;
    }
    if (argc == 0) {
        print_verbs(stderr, noun, verbs);
        return 2;
    }
    for (const struct cli_verb *verb = verbs; verb->name && count < VERBS_MAX; verb++) {
        if (strcmp(argv[0], verb->name) == 0)
            return verb->run(argc - 1, argv + 1);
        names[count++] = verb->name;
    }
    const char *nearest = nearest_name(argv[0], names, count);
    fprintf(stderr, "weir: unknown command '%s%s%s'", noun, noun[0] ? " " : "", argv[0]);
    if (nearest)
        fprintf(stderr, "; did you mean '%s'?", nearest);
    fprintf(stderr, "\ntry 'weir %s%s--help'\n", noun, noun[0] ? " " : "");
    return 2;
}

static int print_version(int argc, char **argv)
{
    printf("weir %s\n", WEIR_VERSION);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct cli_verb verbs[] = {
        {"serve", cli_serve, "run the server: Kafka, Event Hubs, Blob and Stream Analytics"},
        {"topic", cli_topic, "create, list, describe and delete topics"},
        {"produce", cli_produce, "write records to a topic"},
        {"consume", cli_consume, "read records of a topic"},
        {"blob", cli_blob, "list, get and put blobs"},
        {"job", cli_job, "create, list, show, start, stop and delete jobs"},
        {"generate", cli_generate, "generate test data"},
        {"bench", cli_bench, "measure parts on this machine"},
        {"localrun", cli_localrun, "run a query over local files"},
        {"version", print_version, "print the version"},
        {NULL, NULL, NULL},
    };
    if (argc > 1 && strcmp(argv[1], "--version") == 0)
        return print_version(0, NULL);
    return cli_dispatch("", verbs, argc - 1, argv + 1);
}
