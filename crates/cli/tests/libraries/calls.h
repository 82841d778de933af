// Functions of a library that is none: CALL defines one, which notes that it was called and does some work, or fails as it is
// told by the environment variables that CALLS and FAILS name.
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Notes a call; what it is to return.
static int called(const char *name) {
    static int calls;
    const char *file = getenv(CALLS), *fails = getenv(FAILS);
    FILE *list = file ? fopen(file, "a") : NULL;
    if (list) fprintf(list, "%s\n", name), fclose(list);
    char which[64];
    int nth, code;
    if (!fails || sscanf(fails, "%63s %d %d", which, &nth, &code) != 3 || strcmp(which, name)) return 0;
    return ++calls >= nth ? code : 0;
}

#define CALL(name, parameters, work) \
    int name parameters {            \
        int code = called(#name);    \
        if (code) return code;       \
        work;                        \
        return 0;                    \
    }
