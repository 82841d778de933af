// A disk that is watched and fails on demand: loaded before the C library (LD_PRELOAD), it stands between a program and
// every system call that changes files below one folder. Linux alone.
//
//   BELAMY_DISK_ROOT   the folder, absolute and resolved; calls on other paths pass through
//   BELAMY_DISK_LOG    where each call that succeeded is recorded, a line of fields between tabs: what, path, second
//                      path or offset, bytes written in hexadecimal
//   BELAMY_DISK_FAULT  N:WHAT, from the N-th call on (the first is 1): an error's number for that call alone, or
//                      `short` to write half of what was given, or `kill` to die instead of making it. N+:NUMBER fails
//                      that call and all later ones that need space or write at all, as a disk that is full or lost does
//
// What counts as a call: create, truncate, write, sync, rename, mkdir, unlink, rmdir. Reads are counted by themselves, with
// BELAMY_DISK_READ_FAULT: opening to read, and reading.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) real_##name
#define LOOK_UP(name) real_##name = dlsym(RTLD_NEXT, #name)

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_read)(int, void *, size_t);
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_rename)(const char *, const char *);
static int (*real_mkdir)(const char *, mode_t);
static int (*real_unlink)(const char *);
static int (*real_unlinkat)(int, const char *, int);
static int (*real_rmdir)(const char *);
static int (*real_ftruncate)(int, off_t);

enum { DESCRIPTORS = 1024 };
static char *paths[DESCRIPTORS];
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static const char *root;
static FILE *record;

// A fault that is asked for: at which call, what, and whether it stays.
struct fault {
    long at, count;
    int stays, number, is_short, kills;
};
static struct fault on_write, on_read;

static void read_fault(struct fault *fault, const char *text) {
    if (text == NULL) return;
    char *rest;
    fault->at = strtol(text, &rest, 10);
    if (*rest == '+') fault->stays = 1, rest++;
    if (*rest == ':') rest++;
    fault->is_short = strcmp(rest, "short") == 0;
    fault->kills = strcmp(rest, "kill") == 0;
    fault->number = atoi(rest);
}

__attribute__((constructor)) static void begin(void) {
    LOOK_UP(open); LOOK_UP(openat); LOOK_UP(close); LOOK_UP(read); LOOK_UP(write); LOOK_UP(fsync); LOOK_UP(fdatasync);
    LOOK_UP(rename); LOOK_UP(mkdir); LOOK_UP(unlink); LOOK_UP(unlinkat); LOOK_UP(rmdir); LOOK_UP(ftruncate);
    root = getenv("BELAMY_DISK_ROOT");
    read_fault(&on_write, getenv("BELAMY_DISK_FAULT"));
    read_fault(&on_read, getenv("BELAMY_DISK_READ_FAULT"));
    const char *log = getenv("BELAMY_DISK_LOG");
    if (log != NULL) record = fdopen(real_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), "a");
}

// The path within the root, empty for the root itself, or NULL for a path elsewhere. `at` is the folder that a relative path starts from.
static char *inside(int at, const char *path, char *space) {
    if (root == NULL || path == NULL) return NULL;
    char whole[PATH_MAX];
    if (path[0] == '/') {
        snprintf(whole, sizeof whole, "%s", path);
    } else if (at == AT_FDCWD) {
        if (getcwd(whole, sizeof whole) == NULL) return NULL;
        size_t length = strlen(whole);
        snprintf(whole + length, sizeof whole - length, "/%s", path);
    } else if (at >= 0 && at < DESCRIPTORS && paths[at] != NULL) {
        snprintf(whole, sizeof whole, "%s/%s/%s", root, paths[at], path);
    } else {
        return NULL;
    }
    size_t length = strlen(root);
    if (strncmp(whole, root, length) != 0 || (whole[length] != '/' && whole[length] != 0)) return NULL;
    // Without `.`, and with one slash between names.
    char *end = space;
    for (const char *part = whole + length; *part;) {
        while (*part == '/') part++;
        size_t long_ = strcspn(part, "/");
        if (long_ > 0 && !(long_ == 1 && part[0] == '.')) {
            if (end != space) *end++ = '/';
            memcpy(end, part, long_);
            end += long_;
        }
        part += long_;
    }
    *end = 0;
    return space;
}

// Whether this call is the one to fail; sets errno then. `grows` calls need space on the disk.
static int fails(struct fault *fault, int grows) {
    fault->count++;
    if (fault->at == 0 || fault->count < fault->at || fault->is_short) return 0;
    if (fault->count > fault->at && !(fault->stays && grows)) return 0;
    if (fault->kills) raise(SIGKILL);
    errno = fault->number;
    return 1;
}

static void note(const char *what, const char *path, const char *second, const void *bytes, size_t length) {
    if (record == NULL) return;
    fprintf(record, "%s\t%s\t%s\t", what, path, second);
    for (size_t i = 0; i < length; i++) fprintf(record, "%02x", ((const unsigned char *)bytes)[i]);
    fputc('\n', record);
    fflush(record);
}

static void keep(int descriptor, const char *path) {
    if (descriptor < 0 || descriptor >= DESCRIPTORS) return;
    free(paths[descriptor]);
    paths[descriptor] = path ? strdup(path) : NULL;
}

static int open_at(int at, const char *path, int flags, mode_t mode) {
    char space[PATH_MAX];
    char *name = inside(at, path, space);
    if (name == NULL) {
        int descriptor = real_openat(at, path, flags, mode);
        // Whatever had this number before was closed by the C library itself.
        keep(descriptor, NULL);
        return descriptor;
    }
    pthread_mutex_lock(&one_at_a_time);
    struct stat found;
    int is_new = (flags & O_CREAT) && fstatat(at, path, &found, AT_SYMLINK_NOFOLLOW) != 0;
    int writes = is_new || (flags & O_TRUNC);
    int reads = !(flags & (O_CREAT | O_DIRECTORY)) && (flags & O_ACCMODE) == O_RDONLY;
    int descriptor = -1;
    if (!(writes && fails(&on_write, 1)) && !(reads && fails(&on_read, 1))) {
        descriptor = real_openat(at, path, flags, mode);
        if (descriptor >= 0) {
            keep(descriptor, name);
            if (writes) note(is_new ? "create" : "truncate", name, "", NULL, 0);
        }
    }
    int error = errno;
    pthread_mutex_unlock(&one_at_a_time);
    errno = error;
    return descriptor;
}

#define MODE(flags)                                   \
    mode_t mode = 0;                                  \
    if ((flags) & (O_CREAT | O_TMPFILE)) {            \
        va_list more;                                 \
        va_start(more, flags);                        \
        mode = va_arg(more, mode_t);                  \
        va_end(more);                                 \
    }

int open(const char *path, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return open_at(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return open_at(at, path, flags, mode); }

static const char *path_of(int descriptor) {
    return descriptor >= 0 && descriptor < DESCRIPTORS ? paths[descriptor] : NULL;
}

int close(int descriptor) {
    pthread_mutex_lock(&one_at_a_time);
    if (path_of(descriptor)) {
        free(paths[descriptor]);
        paths[descriptor] = NULL;
    }
    int result = real_close(descriptor);
    int error = errno;
    pthread_mutex_unlock(&one_at_a_time);
    errno = error;
    return result;
}

ssize_t read(int descriptor, void *bytes, size_t length) {
    if (path_of(descriptor) == NULL) return real_read(descriptor, bytes, length);
    pthread_mutex_lock(&one_at_a_time);
    ssize_t result = fails(&on_read, 1) ? -1 : real_read(descriptor, bytes, length);
    int error = errno;
    pthread_mutex_unlock(&one_at_a_time);
    errno = error;
    return result;
}

ssize_t write(int descriptor, const void *bytes, size_t length) {
    if (path_of(descriptor) == NULL) return real_write(descriptor, bytes, length);
    pthread_mutex_lock(&one_at_a_time);
    ssize_t result = -1;
    if (!fails(&on_write, 1)) {
        if (on_write.is_short && on_write.count == on_write.at && length > 1) length /= 2;
        struct stat found;
        off_t offset = 0;
        if (fcntl(descriptor, F_GETFL) & O_APPEND) {
            if (fstat(descriptor, &found) == 0) offset = found.st_size;
        } else {
            offset = lseek(descriptor, 0, SEEK_CUR);
        }
        result = real_write(descriptor, bytes, length);
        if (result > 0) {
            char text[32];
            snprintf(text, sizeof text, "%lld", (long long)offset);
            note("write", path_of(descriptor), text, bytes, (size_t)result);
        }
    }
    int error = errno;
    pthread_mutex_unlock(&one_at_a_time);
    errno = error;
    return result;
}

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    // A short write is allowed: the first part that is not empty.
    for (int i = 0; i < count; i++)
        if (parts[i].iov_len > 0) return write(descriptor, parts[i].iov_base, parts[i].iov_len);
    return 0;
}

static int sync_of(int descriptor, int (*real)(int)) {
    if (path_of(descriptor) == NULL) return real(descriptor);
    pthread_mutex_lock(&one_at_a_time);
    int result = fails(&on_write, 0) ? -1 : real(descriptor);
    if (result == 0) note("sync", path_of(descriptor), "", NULL, 0);
    int error = errno;
    pthread_mutex_unlock(&one_at_a_time);
    errno = error;
    return result;
}

int fsync(int descriptor) { return sync_of(descriptor, real_fsync); }
int fdatasync(int descriptor) { return sync_of(descriptor, real_fdatasync); }

// A call that names one path, or two.
#define NAMED(name, path, at, second, grows, call)                            \
    char space[PATH_MAX], other[PATH_MAX];                                    \
    char *first = inside(at, path, space);                                    \
    if (first == NULL) return call;                                           \
    char *to = inside(AT_FDCWD, second, other);                               \
    pthread_mutex_lock(&one_at_a_time);                                       \
    int result = fails(&on_write, grows) ? -1 : call;                         \
    if (result == 0) note(name, first, to ? to : "", NULL, 0);                \
    int error = errno;                                                        \
    pthread_mutex_unlock(&one_at_a_time);                                     \
    errno = error;                                                            \
    return result;

int rename(const char *from, const char *into) { NAMED("rename", from, AT_FDCWD, into, 1, real_rename(from, into)) }
int mkdir(const char *path, mode_t mode) { NAMED("mkdir", path, AT_FDCWD, NULL, 1, real_mkdir(path, mode)) }
int unlink(const char *path) { NAMED("unlink", path, AT_FDCWD, NULL, 0, real_unlink(path)) }
int rmdir(const char *path) { NAMED("rmdir", path, AT_FDCWD, NULL, 0, real_rmdir(path)) }
int unlinkat(int at, const char *path, int flags) {
    const char *what = flags & AT_REMOVEDIR ? "rmdir" : "unlink";
    NAMED(what, path, at, NULL, 0, real_unlinkat(at, path, flags))
}

static int cut(int descriptor, off_t length) {
    if (path_of(descriptor) == NULL) return real_ftruncate(descriptor, length);
    pthread_mutex_lock(&one_at_a_time);
    int result = fails(&on_write, 0) ? -1 : real_ftruncate(descriptor, length);
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)length);
    if (result == 0) note("cut", path_of(descriptor), text, NULL, 0);
    int error = errno;
    pthread_mutex_unlock(&one_at_a_time);
    errno = error;
    return result;
}

int ftruncate(int descriptor, off_t length) { return cut(descriptor, length); }
int ftruncate64(int descriptor, off_t length) { return cut(descriptor, length); }
