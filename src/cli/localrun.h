/* weir localrun: a query over local files, on the engine that jobs use. */
#ifndef WEIR_CLI_LOCALRUN_H
#define WEIR_CLI_LOCALRUN_H

/* argv[0] is "localrun". Exit code: 0 done, 1 runtime error, 2 compile or usage error. */
int cli_localrun(int argc, char **argv);

#endif
