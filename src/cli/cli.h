/*
 * The commands of the program. Each takes the arguments behind its own words and returns the exit
 * status: 0 done, 1 failed, 2 wrong usage. Data goes to stdout, diagnostics to stderr.
 */
#ifndef WEIR_CLI_CLI_H
#define WEIR_CLI_CLI_H

int cli_serve(int argc, char **argv);
int cli_topic(int argc, char **argv);
int cli_produce(int argc, char **argv);
int cli_consume(int argc, char **argv);
int cli_blob(int argc, char **argv);
int cli_job(int argc, char **argv);
int cli_generate(int argc, char **argv);
int cli_localrun(int argc, char **argv);
int cli_bench(int argc, char **argv);
int cli_bench_produce(int argc, char **argv);
int cli_bench_consume(int argc, char **argv);

struct cli_verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
};

/* Runs the verb that argv[0] names; without one prints the list. noun: "topic", "" for the program.
 */
int cli_dispatch(const char *noun, const struct cli_verb *verbs, int argc, char **argv);

#endif
