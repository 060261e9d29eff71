// A library that is loaded before libc (LD_PRELOAD): a disk that is full or slow, and a wall clock that was set.
// FAULT_CONTROL names a file of three 64-bit integers that another process changes: whether writes fail with ENOSPC,
// milliseconds that each write takes, and the clock's offset in seconds. Only files below FAULT_FOLDER are affected.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *control = NULL;

__attribute__((constructor)) static void open_control(void) {
  const char *name = getenv("FAULT_CONTROL");
  int file = name ? open(name, O_RDONLY) : -1;
  if (file < 0) return;
  void *mapped = mmap(NULL, 3 * sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) control = mapped;
  close(file);
}

// Returns 1 if a write to the file must fail; waits first if the disk is slow.
static int fails(int file) {
  if (!control || (!control[0] && !control[1])) return 0;
  const char *folder = getenv("FAULT_FOLDER");
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0 || !folder) return 0;
  path[length] = 0;
  if (strncmp(path, folder, strlen(folder))) return 0;
  if (control[1]) usleep((useconds_t)control[1] * 1000);
  return control[0] != 0;
}

#define WRITER(result, name, parameters, ...)                      \
  result name parameters {                                         \
    static result(*real) parameters = NULL;                        \
    if (!real) real = (result(*) parameters)dlsym(RTLD_NEXT, #name); \
    if (fails(file)) {                                             \
      errno = ENOSPC;                                              \
      return -1;                                                   \
    }                                                              \
    return real(__VA_ARGS__);                                      \
  }

WRITER(ssize_t, write, (int file, const void *content, size_t size), file, content, size)
WRITER(ssize_t, pwrite, (int file, const void *content, size_t size, off_t at), file, content, size, at)
WRITER(ssize_t, pwrite64, (int file, const void *content, size_t size, off64_t at), file, content, size, at)
WRITER(int, ftruncate, (int file, off_t size), file, size)
WRITER(int, ftruncate64, (int file, off64_t size), file, size)
WRITER(int, posix_fallocate, (int file, off_t at, off_t size), file, at, size)
WRITER(int, fsync, (int file), file)
WRITER(int, fdatasync, (int file), file)

int clock_gettime(clockid_t which, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *) = NULL;
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(which, now);
  if (!result && control && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) now->tv_sec += control[2];
  return result;
}

int gettimeofday(struct timeval *now, void *zone) {
  struct timespec precise;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &precise)) return -1;
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *result) {
  struct timespec precise;
  clock_gettime(CLOCK_REALTIME, &precise);
  if (result) *result = precise.tv_sec;
  return precise.tv_sec;
}
