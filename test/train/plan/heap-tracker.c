/*
 * Preloaded into a process, counts the bytes that its heap hands out, now and at most, in a file mapped into memory:
 * two 64-bit integers at the path that HEAP_TRACKER names. Whoever reads the file may set the second to the first.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

struct counters {
  _Atomic long now;
  _Atomic long most;
};

static struct counters early;
static struct counters *counters = &early;

__attribute__((constructor)) static void open_file(void) {
  const char *path = getenv("HEAP_TRACKER");
  const int file = path == NULL ? -1 : open(path, O_RDWR | O_CREAT, 0600);
  if (file < 0 || ftruncate(file, sizeof(struct counters)) != 0) return;
  struct counters *mapped = mmap(NULL, sizeof(struct counters), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (mapped == MAP_FAILED) return;
  mapped->now = early.now;
  mapped->most = early.most;
  counters = mapped;
}

static void *taken(void *memory) {
  if (memory == NULL) return NULL;
  const long size = (long)malloc_usable_size(memory);
  const long now = atomic_fetch_add(&counters->now, size) + size;
  long most = atomic_load(&counters->most);
  while (now > most && !atomic_compare_exchange_weak(&counters->most, &most, now)) {
  }
  return memory;
}

static void given_back(void *memory) {
  if (memory != NULL) atomic_fetch_sub(&counters->now, (long)malloc_usable_size(memory));
}

void *malloc(size_t size) { return taken(__libc_malloc(size)); }
void *calloc(size_t count, size_t size) { return taken(__libc_calloc(count, size)); }
void *memalign(size_t alignment, size_t size) { return taken(__libc_memalign(alignment, size)); }
void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **result, size_t alignment, size_t size) {
  void *memory = memalign(alignment, size);
  if (memory == NULL) return ENOMEM;
  *result = memory;
  return 0;
}

void *realloc(void *old, size_t size) {
  given_back(old);
  void *memory = __libc_realloc(old, size);
  if (memory == NULL && size > 0) {
    taken(old);
    return NULL;
  }
  return taken(memory);
}

void free(void *memory) {
  given_back(memory);
  __libc_free(memory);
}
