// Memory that runs out on demand: loaded before the C library (LD_PRELOAD), it counts what a program asks for at once if
// that is much, and refuses one of these requests. Linux with glibc alone.
//
//   BELAMY_MEMORY_LEAST  how many bytes are much
//   BELAMY_MEMORY_FAULT  which request is refused, from 1; none if it is not set
//   BELAMY_MEMORY_COUNT  a file that receives how many there were, when the program ends
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static atomic_long requests;
static long least = -1, refused = -1;

__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("BELAMY_MEMORY_FAULT");
    refused = text ? atol(text) : -1;
    text = getenv("BELAMY_MEMORY_LEAST");
    least = text ? atol(text) : -1;
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("BELAMY_MEMORY_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file == NULL) return;
    fprintf(file, "%ld\n", atomic_load(&requests));
    fclose(file);
}

// Whether this request is the one.
static int is_refused(size_t bytes) {
    if (least < 0 || bytes < (size_t)least) return 0;
    if (atomic_fetch_add(&requests, 1) + 1 != refused) return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t bytes) { return is_refused(bytes) ? NULL : __libc_malloc(bytes); }

void *calloc(size_t count, size_t bytes) {
    size_t all;
    if (__builtin_mul_overflow(count, bytes, &all)) all = (size_t)-1;
    return is_refused(all) ? NULL : __libc_calloc(count, bytes);
}

void *realloc(void *old, size_t bytes) {
    // To give memory back is always possible.
    if (old != NULL && malloc_usable_size(old) >= bytes) return __libc_realloc(old, bytes);
    return is_refused(bytes) ? NULL : __libc_realloc(old, bytes);
}

void *memalign(size_t alignment, size_t bytes) {
    return is_refused(bytes) ? NULL : __libc_memalign(alignment, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }

int posix_memalign(void **memory, size_t alignment, size_t bytes) {
    void *found = memalign(alignment, bytes);
    if (found == NULL) return ENOMEM;
    *memory = found;
    return 0;
}
