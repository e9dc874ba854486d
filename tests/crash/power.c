/* What a disk would hold after a power cut: LD_PRELOADed by tests/crash/power.py.
 *
 * A file's content counts as durable when fsync or fdatasync of it has returned, a name when fsync
 * of its directory has. For one directory (POWER_STORE) both are kept up to date in another
 * (POWER_DISK): the contents under their names, the names in "names". A copy that is cut short is
 * a sync that was: some of what was to become durable is.
 *
 * POWER_CUT=n kills the process where it is about to make the n-th sync; POWER_EIO=n makes that one
 * fail, and nothing of it durable. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK (64 * 1024)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long syncs;

static void fail(const char *what) {
    perror(what);
    abort(); /* a model that is silently wrong would prove nothing */
}

static int durable_copy(const char *name, int flags) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", getenv("POWER_DISK"), name);
    int fd = open(path, flags | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) fail(path);
    return fd;
}

/* Block by block, only what differs. */
static void keep_content(int from, const char *name) {
    static char now[BLOCK], durable[BLOCK];
    struct stat stat;
    int to = durable_copy(name, O_RDWR);
    if (fstat(from, &stat) || ftruncate(to, stat.st_size)) fail(name);
    for (off_t at = 0; at < stat.st_size; at += BLOCK) {
        ssize_t length = pread(from, now, BLOCK, at);
        if (length < 0) fail(name);
        if (pread(to, durable, length, at) == length && !memcmp(now, durable, length)) continue;
        if (pwrite(to, now, length, at) != length) fail(name);
    }
    close(to);
}

static void keep_names(const char *folder) {
    char line[NAME_MAX + 2], part[PATH_MAX], whole[PATH_MAX];
    DIR *entries = opendir(folder);
    if (!entries) fail(folder);
    int to = durable_copy("names.new", O_WRONLY | O_TRUNC);
    for (struct dirent *entry; (entry = readdir(entries));) {
        int length = snprintf(line, sizeof line, "%s\n", entry->d_name);
        if (write(to, line, length) != length) fail("names");
    }
    close(to);
    closedir(entries);
    snprintf(part, sizeof part, "%s/names.new", getenv("POWER_DISK"));
    snprintf(whole, sizeof whole, "%s/names", getenv("POWER_DISK"));
    if (rename(part, whole)) fail(whole);
}

static int synced(int fd, const char *call) {
    char link[64], path[PATH_MAX];
    const char *folder = getenv("POWER_STORE"), *cut = getenv("POWER_CUT");
    const char *broken = getenv("POWER_EIO");
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, call);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    size_t stem = strlen(folder);
    if (length < 0 || strncmp(path, folder, stem)) return sync(fd);
    path[length] = 0;
    pthread_mutex_lock(&lock);
    syncs++;
    if (cut && syncs == atol(cut)) kill(getpid(), SIGKILL);
    if (broken && syncs == atol(broken)) {
        pthread_mutex_unlock(&lock);
        errno = EIO;
        return -1;
    }
    int status = sync(fd);
    if (status == 0 && path[stem] == 0) keep_names(path);
    /* An unlinked file is shown with a blank and "(deleted)". */
    if (status == 0 && path[stem] == '/' && !strchr(path, ' ')) keep_content(fd, path + stem + 1);
    pthread_mutex_unlock(&lock);
    return status;
}

int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }
