/* Reads a tree as a program would, with threads, and says how fast.
 *
 *   mount_reader MODE THREADS SECONDS LIST      -> "operations bytes nanoseconds errors"
 *
 * LIST holds one path a line; thread t of T begins at its own T-th of it.
 *   small  open, read 128 KiB until the end, close          stat   stat
 *   seq    read 1 MiB at a time from each file in turn      rand4  pread 4 KiB anywhere in the file (rand128: 128 KiB)
 *   walk   readdir and stat of everything below each path
 *   evict  drop the file's pages (posix_fadvise)
 * SECONDS 0: every path once. Otherwise round and round until the time is up.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 20 };

struct work {
	pthread_t thread;
	long first, count;
	uint64_t random, operations, bytes, errors;
	char *buffer;
};

static char **paths;
static volatile int stopped;

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void read_all(struct work *w, const char *path, size_t size, int count_reads)
{
	ssize_t got;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		w->errors++;
		return;
	}
	while ((got = read(fd, w->buffer, size)) > 0 && !(count_reads && stopped)) {
		w->bytes += (uint64_t)got;
		w->operations += (uint64_t)count_reads;
	}
	w->errors += got < 0;
	w->operations += !count_reads;
	close(fd);
}

static void read_small(struct work *w, const char *path) { read_all(w, path, 128 << 10, 0); }
static void read_sequential(struct work *w, const char *path) { read_all(w, path, BUFFER, 1); }

static void read_random(struct work *w, const char *path, size_t size)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st)) {
		w->errors++;
		return;
	}
	for (int i = 0; i < 4096 && !stopped; i++) {
		w->random ^= w->random << 13;
		w->random ^= w->random >> 7;
		w->random ^= w->random << 17;
		off_t at = (off_t)(w->random % ((uint64_t)st.st_size / size) * size);
		ssize_t got = pread(fd, w->buffer, size, at);
		w->errors += got != (ssize_t)size;
		w->bytes += size;
		w->operations++;
	}
	close(fd);
}

static void read_random_4k(struct work *w, const char *path) { read_random(w, path, 4096); }
static void read_random_128k(struct work *w, const char *path) { read_random(w, path, 128 << 10); }

static void stat_one(struct work *w, const char *path)
{
	struct stat st;
	w->errors += stat(path, &st) != 0;
	w->operations++;
}

static void walk_at(struct work *w, int parent, const char *name)
{
	struct dirent *entry;
	struct stat st;
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fd < 0 ? NULL : fdopendir(fd);
	if (!folder) {
		w->errors++;
		return;
	}
	while ((entry = readdir(folder))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		w->operations++;
		if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW))
			w->errors++;
		else if (S_ISDIR(st.st_mode))
			walk_at(w, fd, entry->d_name);
	}
	closedir(folder);
}

static void walk(struct work *w, const char *path) { walk_at(w, AT_FDCWD, path); }

static void evict(struct work *w, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		w->errors++;
		return;
	}
	w->errors += posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0;
	w->operations++;
	close(fd);
}

static const struct {
	const char *name;
	void (*act)(struct work *, const char *);
} modes[] = {
	{ "small", read_small }, { "seq", read_sequential }, { "rand4", read_random_4k }, { "rand128", read_random_128k },
	{ "stat", stat_one },	 { "walk", walk },	     { "evict", evict },
};
static void (*act)(struct work *, const char *);
static int once;

static void *run(void *argument)
{
	struct work *w = argument;
	do {
		for (long i = 0; i < w->count && !stopped; i++)
			act(w, paths[w->first + i]);
	} while (!once && !stopped);
	return NULL;
}

static long load(const char *name)
{
	char line[8192];
	long count = 0, room = 0;
	FILE *file = fopen(name, "r");
	if (!file)
		return 0;
	while (fgets(line, sizeof line, file)) {
		line[strcspn(line, "\n")] = 0;
		if (count == room)
			paths = realloc(paths, sizeof *paths * (size_t)(room = room * 2 + 1024));
		paths[count++] = strdup(line);
	}
	fclose(file);
	return count;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
		if (!strcmp(modes[i].name, argv[1]))
			act = modes[i].act;
	long threads = atol(argv[2]), count = load(argv[4]);
	double seconds = atof(argv[3]);
	if (!act || threads < 1 || !count)
		return 2;
	once = seconds == 0;
	struct work *all = calloc((size_t)threads, sizeof *all), sum = { 0 };
	for (long t = 0; t < threads; t++) {
		struct work *w = &all[t];
		/* with fewer paths than threads, all read the same */
		w->first = count >= threads ? count * t / threads : 0;
		w->count = count >= threads ? count * (t + 1) / threads - w->first : count;
		w->random = 88172645463325252u + (uint64_t)t * 7919u;
		if (posix_memalign((void **)&w->buffer, 4096, BUFFER))
			return 1;
		memset(w->buffer, 1, BUFFER);
	}
	uint64_t start = now_ns();
	for (long t = 0; t < threads; t++)
		if (pthread_create(&all[t].thread, NULL, run, &all[t]))
			return 1;
	if (!once) {
		usleep((useconds_t)(seconds * 1e6));
		stopped = 1;
	}
	for (long t = 0; t < threads; t++) {
		pthread_join(all[t].thread, NULL);
		sum.operations += all[t].operations;
		sum.bytes += all[t].bytes;
		sum.errors += all[t].errors;
	}
	printf("%llu %llu %llu %llu\n", (unsigned long long)sum.operations, (unsigned long long)sum.bytes,
	       (unsigned long long)(now_ns() - start), (unsigned long long)sum.errors);
	return 0;
}
