/*
 * The program's entry: picks the command named by the first argument.
 */
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("weir 0.1.0");
        return 0;
    }
    fputs("usage: weir --version\n", stderr);
    return 2;
}
