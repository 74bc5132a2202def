/* Counts the file operations of a process below one folder, and lets the N-th and perhaps all later ones go wrong.

   Loaded with LD_PRELOAD. Reads its wishes from the environment when the first such operation comes:
   FAULT_ROOT   the folder
   FAULT_LOG    a file outside of it: one line an operation
   FAULT_KIND   none, kill (SIGKILL before the operation), full (ENOSPC, from then on), broken (EIO, once)
   FAULT_AT     N, from 1
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *root, *kind;
static long at, count;
static int journal = -1, ready, inside;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int wanted(void) {
    if (!ready) {
        root = getenv("FAULT_ROOT");
        if (root == NULL) return 0; /* asked again: a process that was forked may be told later */
        ready = 1;
        kind = getenv("FAULT_KIND");
        if (kind == NULL) kind = "none";
        const char *number = getenv("FAULT_AT"), *path = getenv("FAULT_LOG");
        at = number == NULL ? 0 : atol(number);
        if (path != NULL) journal = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    return !inside;
}

static int below(const char *path) {
    size_t length = strlen(root);
    return strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == 0);
}

/* Whether this operation goes wrong; sets errno. */
static int strike(const char *what, const char *path, int takes_room) {
    int full, broken;
    count++;
    inside = 1;
    if (journal >= 0) {
        char line[PATH_MAX + 64];
        int size = snprintf(line, sizeof line, "%ld %s %s\n", count, what, path);
        if (REAL(write)(journal, line, (size_t)size) < 0) abort();
    }
    inside = 0;
    if (at == 0 || count < at) return 0;
    if (strcmp(kind, "kill") == 0) raise(SIGKILL);
    full = strcmp(kind, "full") == 0 && takes_room;
    broken = strcmp(kind, "broken") == 0 && count == at;
    if (full || broken) errno = full ? ENOSPC : EIO;
    return full || broken;
}

static int bad_path(const char *what, int where, const char *path, int takes_room) {
    char whole[PATH_MAX];
    if (path == NULL || !wanted()) return 0;
    if (path[0] == '/')
        snprintf(whole, sizeof whole, "%s", path);
    else {
        char link[64], base[PATH_MAX];
        if (where == AT_FDCWD)
            snprintf(link, sizeof link, "/proc/self/cwd");
        else
            snprintf(link, sizeof link, "/proc/self/fd/%d", where);
        ssize_t size = readlink(link, base, sizeof base - 1);
        if (size < 0) return 0;
        base[size] = 0;
        if (snprintf(whole, sizeof whole, "%s/%s", base, path) >= (int)sizeof whole) return 0;
    }
    return below(whole) && strike(what, whole, takes_room);
}

static int bad_file(const char *what, int file, int takes_room) {
    char link[64], path[PATH_MAX];
    if (file < 3 || !wanted()) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size <= 0) return 0;
    path[size] = 0;
    return below(path) && strike(what, path, takes_room);
}

#define MODE(flags)                                                                                                    \
    mode_t mode = 0;                                                                                                   \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                                           \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
    }

#define OPENING(name)                                                                                                  \
    int name(const char *path, int flags, ...) {                                                                       \
        MODE(flags)                                                                                                    \
        if (bad_path("open", AT_FDCWD, path, flags & O_CREAT)) return -1;                                              \
        return REAL(name)(path, flags, mode);                                                                          \
    }
#define OPENING_AT(name)                                                                                               \
    int name(int where, const char *path, int flags, ...) {                                                            \
        MODE(flags)                                                                                                    \
        if (bad_path("open", where, path, flags & O_CREAT)) return -1;                                                 \
        return REAL(name)(where, path, flags, mode);                                                                   \
    }
OPENING(open)
OPENING(open64)
OPENING_AT(openat)
OPENING_AT(openat64)

#define ON_FILE(type, name, room, parameters, ...)                                                                     \
    type name parameters {                                                                                             \
        if (bad_file(#name, file, room)) return -1;                                                                    \
        return REAL(name)(__VA_ARGS__);                                                                                \
    }
ON_FILE(ssize_t, read, 0, (int file, void *data, size_t size), file, data, size)
ON_FILE(ssize_t, write, 1, (int file, const void *data, size_t size), file, data, size)
ON_FILE(ssize_t, pwrite, 1, (int file, const void *data, size_t size, off_t from), file, data, size, from)
ON_FILE(ssize_t, pwrite64, 1, (int file, const void *data, size_t size, off64_t from), file, data, size, from)
ON_FILE(ssize_t, writev, 1, (int file, const struct iovec *parts, int number), file, parts, number)
ON_FILE(ssize_t, sendfile, 1, (int file, int from, off_t *offset, size_t size), file, from, offset, size)
ON_FILE(ssize_t, sendfile64, 1, (int file, int from, off64_t *offset, size_t size), file, from, offset, size)
ON_FILE(int, ftruncate, 1, (int file, off_t size), file, size)
ON_FILE(int, ftruncate64, 1, (int file, off64_t size), file, size)
ON_FILE(int, fsync, 1, (int file), file)
ON_FILE(int, fdatasync, 1, (int file), file)

#define ON_PATH(name, room, parameters, where, path, ...)                                                              \
    int name parameters {                                                                                              \
        if (bad_path(#name, where, path, room)) return -1;                                                             \
        return REAL(name)(__VA_ARGS__);                                                                                \
    }
ON_PATH(mkdir, 1, (const char *path, mode_t mode), AT_FDCWD, path, path, mode)
ON_PATH(mkdirat, 1, (int where, const char *path, mode_t mode), where, path, where, path, mode)
ON_PATH(rename, 1, (const char *path, const char *to), AT_FDCWD, to, path, to)
ON_PATH(renameat, 1, (int from, const char *path, int where, const char *to), where, to, from, path, where, to)
ON_PATH(unlink, 0, (const char *path), AT_FDCWD, path, path)
ON_PATH(unlinkat, 0, (int where, const char *path, int flags), where, path, where, path, flags)
ON_PATH(rmdir, 0, (const char *path), AT_FDCWD, path, path)
