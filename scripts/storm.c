// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Opens and closes TCP connections on loopback as fast as the machine can, a counted number of them.
 *
 *	cc -O2 -Wall -Wextra -Werror -o storm storm.c
 *	./storm --connections 120000 --mode rst
 *
 * Each worker is a process with a listener of its own and plays both ends, one connection at a time:
 * connect, accept, close at one end, notice it at the other, close there. On loopback all of it runs
 * inside the system calls of one CPU, so one worker per CPU saturates the machine.
 *
 *	rst		the accepted end closes with SO_LINGER 0, the client reads ECONNRESET and closes
 *	timewait	the client closes and carries TIME_WAIT, the accepted end reads the end and closes
 *
 * It talks to 127.0.0.0/8 only, ends by itself (--connections and --seconds both bound it) and writes
 * one line of JSON. Exit status 0: every connection was made, accepted and closed as described.
 * Every client has an address of its own in turn, so that ports never run out; TIME_WAIT closes need
 * tcp_max_tw_buckets above --connections, best raised in a throw-away network namespace.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORKERS_MAX 200
#define CHUNK 32 /* connections a worker takes at once: small, so that all end together */
#define ERRORS_MAX 100 /* a worker that fails this often gives up */
#define GRACE 5 /* seconds past --seconds until a worker that hangs is killed */

enum mode { MODE_RST, MODE_TIMEWAIT };

struct options {
	long connections;
	long seconds;
	int workers;
	int port;
	int ready_fd;
	enum mode mode;
};

/* Shared by all workers. */
struct shared {
	_Atomic long taken;
	_Atomic long made;
	_Atomic long errors;
	_Atomic int error; /* errno of the first failure */
	_Atomic int step; /* and what failed: index into STEPS */
	_Atomic int waiting; /* workers ready to start */
	_Atomic bool go;
	struct timespec start;
};

static const char *const STEPS[] = {
	"", "socket", "bind", "connect", "accept", "notice", "listen"
};
enum step {
	STEP_NONE,
	STEP_SOCKET,
	STEP_BIND,
	STEP_CONNECT,
	STEP_ACCEPT,
	STEP_NOTICE,
	STEP_LISTEN
};

static double since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - start->tv_sec) + (now.tv_nsec - start->tv_nsec) / 1e9;
}

static void failed(struct shared *shared, enum step step)
{
	int none = 0;

	if (atomic_compare_exchange_strong(&shared->error, &none, errno ? errno : EPROTO))
		atomic_store(&shared->step, step);
	atomic_fetch_add(&shared->errors, 1);
}

/* The listener of one worker. With SO_LINGER 0 on it every accepted socket inherits that. */
static int listener(const struct options *options, int worker, struct sockaddr_in *address)
{
	const struct linger abort_on_close = { .l_onoff = 1, .l_linger = 0 };
	const int one = 1;
	socklen_t length = sizeof(*address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	*address = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(options->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK + worker),
	};
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (options->mode == MODE_RST)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_on_close, sizeof(abort_on_close));
	if (bind(fd, (struct sockaddr *)address, sizeof(*address)) || listen(fd, 1024) ||
	    getsockname(fd, (struct sockaddr *)address, &length)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* A connected pair. Binding the address and leaving the port to connect() lets ports repeat per address. */
static enum step open_pair(int listening, const struct sockaddr_in *server, uint32_t from,
			   int *client, int *accepted)
{
	const struct sockaddr_in local = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(from) };
	const int one = 1;

	*client = socket(AF_INET, SOCK_STREAM, 0);
	if (*client < 0)
		return STEP_SOCKET;
	setsockopt(*client, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	if (bind(*client, (const struct sockaddr *)&local, sizeof(local))) {
		close(*client);
		return STEP_BIND;
	}
	if (connect(*client, (const struct sockaddr *)server, sizeof(*server))) {
		close(*client);
		return STEP_CONNECT;
	}
	*accepted = accept4(listening, NULL, NULL, 0);
	if (*accepted < 0) {
		close(*client);
		return STEP_ACCEPT;
	}
	return STEP_NONE;
}

/* first closes; second must notice in the way of the mode before it closes. */
static enum step close_pair(int first, int second, enum mode mode)
{
	enum step step = STEP_NONE;
	char byte;
	ssize_t got;

	close(first);
	errno = 0;
	got = recv(second, &byte, 1, 0);
	if (mode == MODE_RST ? got >= 0 || errno != ECONNRESET : got != 0)
		step = STEP_NOTICE;
	close(second);
	return step;
}

static void one_connection(const struct options *options, struct shared *shared, int listening,
			   const struct sockaddr_in *server, uint32_t from)
{
	int client, accepted;
	enum step step = open_pair(listening, server, from, &client, &accepted);

	if (step == STEP_NONE)
		step = options->mode == MODE_RST ? close_pair(accepted, client, options->mode)
						 : close_pair(client, accepted, options->mode);
	if (step == STEP_NONE)
		return;
	failed(shared, step);
}

static void work(const struct options *options, struct shared *shared, int worker)
{
	struct sockaddr_in server;
	int listening = listener(options, worker, &server);
	long limit = options->connections;
	/* 127.(16 + worker).x.y: 65536 client addresses for each worker */
	uint32_t base = (127u << 24) | ((16u + worker) << 16);
	uint32_t turn = 0;

	if (listening < 0)
		failed(shared, STEP_LISTEN);
	atomic_fetch_add(&shared->waiting, 1);
	while (!atomic_load(&shared->go))
		sched_yield();
	while (listening >= 0 && atomic_load(&shared->errors) < ERRORS_MAX &&
	       since(&shared->start) < options->seconds) {
		long first = atomic_fetch_add(&shared->taken, CHUNK);
		long last = first + CHUNK < limit ? first + CHUNK : limit;

		if (first >= limit)
			break;
		for (long n = first; n < last; n++, turn++)
			one_connection(options, shared, listening, &server, base | (turn & 0xffff));
		atomic_fetch_add(&shared->made, last - first);
	}
}

/* Pinned: without it the scheduler now and then puts two workers on one CPU for a while. */
static void pin(int worker)
{
	cpu_set_t allowed, one;
	int nth = 0, count;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return;
	count = CPU_COUNT(&allowed);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || nth++ != worker % count)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
		return;
	}
}

static void start_worker(const struct options *options, struct shared *shared, int worker)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid < 0) {
		perror("storm: fork");
		exit(1);
	}
	if (pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	alarm(options->seconds + GRACE);
	pin(worker);
	work(options, shared, worker);
	_exit(0);
}

/* User and system time of the workers, as far as the kernel accounts it to them. */
static double cpu_seconds(void)
{
	struct rusage used;

	getrusage(RUSAGE_CHILDREN, &used);
	return used.ru_utime.tv_sec + used.ru_stime.tv_sec +
	       (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static int storm(const struct options *options, struct shared *shared)
{
	int status, broken = 0;
	double seconds;
	long made, errors;

	for (int worker = 0; worker < options->workers; worker++)
		start_worker(options, shared, worker);
	/* The workers die with this process. */
	alarm(options->seconds + GRACE + 1);
	while (atomic_load(&shared->waiting) < options->workers)
		sched_yield();
	if (options->ready_fd >= 0 && write(options->ready_fd, "\n", 1) != 1)
		perror("storm: --ready-fd");
	clock_gettime(CLOCK_MONOTONIC, &shared->start);
	atomic_store(&shared->go, true);
	while (wait(&status) > 0)
		broken += !WIFEXITED(status) || WEXITSTATUS(status);
	seconds = since(&shared->start);
	errors = atomic_load(&shared->errors);
	made = atomic_load(&shared->made) - errors;
	printf("{\"mode\": \"%s\", \"workers\": %d, \"connections\": %ld, \"seconds\": %.6f, "
	       "\"rate\": %.1f, \"cpu_seconds\": %.3f, \"errors\": %ld, \"broken_workers\": %d, "
	       "\"first_error\": \"%s%s%s\"}\n",
	       options->mode == MODE_RST ? "rst" : "timewait", options->workers, made, seconds,
	       made / seconds, cpu_seconds(), errors, broken, STEPS[atomic_load(&shared->step)],
	       errors ? ": " : "", errors ? strerror(atomic_load(&shared->error)) : "");
	return errors || broken || made < options->connections;
}

static long number(const char *name, const char *text, long low, long high)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (*text && !*end && value >= low && value <= high)
		return value;
	fprintf(stderr, "storm: --%s %s: give a number from %ld to %ld\n", name, text, low, high);
	exit(2);
}

static void parse(int argc, char **argv, struct options *options)
{
	static const struct option names[] = {
		{ "connections", required_argument, NULL, 'c' },
		{ "seconds", required_argument, NULL, 's' },
		{ "workers", required_argument, NULL, 'w' },
		{ "mode", required_argument, NULL, 'm' },
		{ "port", required_argument, NULL, 'p' },
		{ "ready-fd", required_argument, NULL, 'r' },
		{ NULL, 0, NULL, 0 },
	};
	int option, index;

	while ((option = getopt_long(argc, argv, "", names, &index)) != -1) {
		if (option == 'c')
			options->connections = number("connections", optarg, 1, 20000000);
		else if (option == 's')
			options->seconds = number("seconds", optarg, 1, 600);
		else if (option == 'w')
			options->workers = number("workers", optarg, 1, WORKERS_MAX);
		else if (option == 'p')
			options->port = number("port", optarg, 0, 65535);
		else if (option == 'r')
			options->ready_fd = number("ready-fd", optarg, 0, 1 << 20);
		else if (option == 'm' && !strcmp(optarg, "rst"))
			options->mode = MODE_RST;
		else if (option == 'm' && !strcmp(optarg, "timewait"))
			options->mode = MODE_TIMEWAIT;
		else
			option = '?';
		if (option == '?')
			break;
	}
	if (option != -1 || optind != argc) {
		fputs("usage: storm [--connections N] [--seconds S] [--workers N]"
		      " [--mode rst|timewait] [--port P] [--ready-fd N]\n",
		      stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct options options = {
		.connections = 120000,
		.seconds = 60,
		.workers = cpus < WORKERS_MAX ? cpus : WORKERS_MAX,
		.ready_fd = -1,
	};
	struct shared *shared;

	parse(argc, argv, &options);
	signal(SIGPIPE, SIG_IGN);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED) {
		perror("storm: mmap");
		return 1;
	}
	return storm(&options, shared);
}
