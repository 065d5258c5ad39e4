/* Stops a process at the n-th change that it makes to the files of a folder. Preload it, then call arm(); with no folder it does nothing.
 *
 * A change is a call that writes, truncates, synchronises or unlinks. With `tear`, half of a write is done before the
 * process is killed. What is synchronised is copied into the folder `disk`, and what was unlinked is unlinked there when
 * the folder is synchronised: that is what a power cut leaves at the worst. */

#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static char folder[PATH_MAX], disk[PATH_MAX];
static long left;
static int tear;
long changes;

void arm(const char *watched, const char *synchronised, long kill_at, int half)
{
    snprintf(folder, sizeof folder, *watched ? "%s/" : "", watched);
    snprintf(disk, sizeof disk, "%s", synchronised);
    left = kill_at;
    tear = half;
    changes = 0;
}

static int is_ours(const char *path) { return folder[0] && strncmp(path, folder, strlen(folder)) == 0; }

static int is_open_of_ours(int fd, char *path)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = folder[0] ? readlink(link, path, PATH_MAX - 1) : -1;
    path[size < 0 ? 0 : size] = 0;
    return is_ours(path);
}

static int is_last(void)
{
    changes++;
    return left > 0 && --left == 0;
}

static void end(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static long change(int fd, long number, const void *data, size_t size, off_t at)
{
    char path[PATH_MAX];
    if (is_open_of_ours(fd, path) && is_last()) {
        if (tear)
            syscall(number, fd, data, size / 2, at);
        end();
    }
    return syscall(number, fd, data, size, at);
}

ssize_t write(int fd, const void *data, size_t size) { return change(fd, SYS_write, data, size, 0); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return change(fd, SYS_pwrite64, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) { return change(fd, SYS_pwrite64, data, size, at); }

static int truncate_it(int fd, off_t size)
{
    char path[PATH_MAX];
    if (is_open_of_ours(fd, path) && is_last())
        end();
    return syscall(SYS_ftruncate, fd, size);
}

int ftruncate(int fd, off_t size) { return truncate_it(fd, size); }
int ftruncate64(int fd, off_t size) { return truncate_it(fd, size); }

/* What is not in the folder any more is not on the disk any more. */
static void unlink_on_disk(void)
{
    DIR *entries = opendir(disk);
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        char there[PATH_MAX * 2], here[PATH_MAX * 2];
        snprintf(there, sizeof there, "%s/%s", disk, entry->d_name);
        snprintf(here, sizeof here, "%s%s", folder, entry->d_name);
        if (entry->d_type == DT_REG && access(here, F_OK) != 0)
            syscall(SYS_unlinkat, AT_FDCWD, there, 0);
    }
    if (entries)
        closedir(entries);
}

static void copy(const char *path)
{
    char name[PATH_MAX * 2], data[65536];
    snprintf(name, sizeof name, "%s/%s", disk, path + strlen(folder));
    int from = open(path, O_RDONLY), to = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    for (ssize_t size; (size = read(from, data, sizeof data)) > 0;)
        syscall(SYS_write, to, data, size);
    close(from);
    close(to);
}

static int synchronise(int fd, long number)
{
    char path[PATH_MAX];
    int ours = is_open_of_ours(fd, path), whole = folder[0] && strncmp(path, folder, strlen(folder) - 1) == 0 && !ours;
    if ((ours || whole) && is_last())
        end();
    int result = syscall(number, fd);
    if (ours && result == 0)
        copy(path);
    if (whole && result == 0)
        unlink_on_disk();
    return result;
}

int fsync(int fd) { return synchronise(fd, SYS_fsync); }
int fdatasync(int fd) { return synchronise(fd, SYS_fdatasync); }

int unlink(const char *path)
{
    if (is_ours(path) && is_last())
        end();
    return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}
