/*
 * Role: drives the shards of a real process: a thread each, the worker pool, signals on the main
 * thread.
 *
 *     main: poll(signals, eventfd) -> shards_stop_begin -> poll until all phases ended
 *           -> quit posts -> join
 *
 * Invariants
 * (1) Signals are blocked in every thread; main reads SIGTERM and SIGINT from a descriptor.
 * (2) A shard thread leaves its loop only after `quit` and with no work out, so no worker ever
 *     touches a dead reactor.
 * (3) The second signal ends the process without further ado.
 *
 * Ownership and shard: struct host belongs to the main thread; `quit` and `asked` are atomic.
 *
 * Failure modes: a thread that cannot be started stops those already running and the error goes to
 * the caller.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/diag.h"
#include "io/reactor_int.h"
#include "io/shard.h"
#include "io/shard_int.h"
#include "io/thread.h"
#include "io/workpool.h"

#define SHARD_STACK (512u * 1024)
#define SHARD_SLEEP_MAX_US 60000000

struct host;

struct host_thread {
    pthread_t thread;
    struct host *host;
    struct reactor *reactor;
    struct post quit_post;
    bool quit; /* set on the shard itself */
};

struct host {
    struct workpool *pool;
    int event_fd; /* counts stop requests, loops that run, and the end of all phases */
    int signal_fd;
    _Atomic bool asked;
    _Atomic bool stopped;
    _Atomic unsigned running;
    unsigned count;
    struct host_thread threads[SHARD_MAX];
};

static enum err host_reactor_create(void *arg, unsigned index, struct reactor **ret_reactor,
                                    struct err_info *info)
{
    struct host *host = arg;
    ASSERT(index < SHARD_MAX);
    enum err err = reactor_epoll_create(host->pool, ret_reactor, info);
    ASSERT(!host->threads[index].reactor);
    host->threads[index].host = host;
    host->threads[index].reactor = *ret_reactor;
    return err;
}

/* Async-signal-safe. */
static void host_notify(struct host *host)
{
    uint64_t one = 1;
    ssize_t n = write(host->event_fd, &one, sizeof(one));
    (void)n; /* full means notified already */
}

static void host_stop_asked(void *arg)
{
    struct host *host = arg;
    ASSERT(host->event_fd >= 0);
    atomic_store(&host->asked, true);
    host_notify(host);
}

static void host_stopped(void *arg)
{
    struct host *host = arg;
    ASSERT(!atomic_load(&host->stopped));
    atomic_store(&host->stopped, true);
    host_notify(host);
}

static void host_halt(void *arg)
{
    struct host *host = arg;
    workpool_destroy(host->pool);
    host->pool = NULL;
}

static void host_free(void *arg)
{
    struct host *host = arg;
    ASSERT(!host->pool);
    if (host->event_fd >= 0)
        close(host->event_fd);
    if (host->signal_fd >= 0)
        close(host->signal_fd);
    free(host);
}

static unsigned host_cores(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return count < 1 ? 1 : count > SHARD_MAX ? SHARD_MAX : (unsigned)count;
}

enum err shards_create(const struct shards_config *config, struct shards **ret_shards,
                       struct err_info *info)
{
    *ret_shards = NULL;
    struct shards_config real = *config;
    if (real.count > SHARD_MAX)
        return err_info_set(info, ERR_INVALID_ARGUMENT, "at most %d shards", SHARD_MAX);
    if (real.count == 0)
        real.count = host_cores();
    if (real.workers == 0)
        real.workers = real.count + 1 > 4 ? 4 : real.count + 1;
    if (real.workers < WORKPOOL_THREADS_MIN)
        real.workers = WORKPOOL_THREADS_MIN;
    if (real.workers > WORKPOOL_THREADS_MAX)
        real.workers = WORKPOOL_THREADS_MAX;
    struct host *host = calloc(1, sizeof(*host));
    if (!host)
        return err_info_set(info, ERR_NO_MEMORY, "out of memory for the shards");
    ASSERT(real.count >= 1 && real.workers >= WORKPOOL_THREADS_MIN);
    host->signal_fd = -1;
    host->count = real.count;
    host->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum err err = ERR_OK;
    if (host->event_fd < 0)
        err = err_info_set(info, ERR_LIMIT, "cannot start: %s", strerror(errno));
    if (err == ERR_OK)
        err = workpool_create(real.workers, &host->pool, info);
    if (err != ERR_OK) {
        host_free(host);
        return err;
    }
    struct shards_host seam = {host_reactor_create, host_stop_asked, host_stopped,
                               host_halt,           host_free,       host};
    return shards_create_on(&real, &seam, ret_shards, info);
}

/* ---- running ---- */

static void *host_thread_main(void *arg)
{
    struct host_thread *thread = arg;
    ASSERT(thread->reactor);
    atomic_fetch_add(&thread->host->running, 1);
    host_notify(thread->host);
    while (!thread->quit || thread->reactor->works_out > 0)
        reactor_epoll_turn(thread->reactor, SHARD_SLEEP_MAX_US);
    return NULL;
}

static void host_thread_quit(struct post *post)
{
    ASSERT(post->fn == host_thread_quit);
    CONTAINER_OF(post, struct host_thread, quit_post)->quit = true;
}

static void host_threads_join(struct host *host, unsigned started)
{
    ASSERT(started <= host->count);
    for (unsigned i = 0; i < started; i++)
        reactor_post(host->threads[i].reactor, &host->threads[i].quit_post, host_thread_quit);
    for (unsigned i = 0; i < started; i++)
        pthread_join(host->threads[i].thread, NULL);
}

/*
 * One that cannot be started takes the others back: a process with fewer shards than it said would
 * leave partitions without an owner.
 */
static enum err host_threads_start(struct host *host, struct err_info *info)
{
    ASSERT(host->count >= 1 && host->count <= SHARD_MAX);
    for (unsigned i = 0; i < host->count; i++) {
        char name[24];
        snprintf(name, sizeof(name), "shard-%u", i);
        enum err err = thread_start(&host->threads[i].thread, name, SHARD_STACK, host_thread_main,
                                    &host->threads[i], info);
        if (err != ERR_OK) {
            host_threads_join(host, i);
            return err;
        }
    }
    return ERR_OK;
}

/* Waits for a signal or a notification; true when a signal came. */
static bool host_wait(struct host *host)
{
    ASSERT(host->signal_fd >= 0 && host->event_fd >= 0);
    struct pollfd fds[2] = {{.fd = host->signal_fd, .events = POLLIN},
                            {.fd = host->event_fd, .events = POLLIN}};
    int n = poll(fds, 2, -1);
    ASSERT(n >= 0 || errno == EINTR);
    uint64_t count;
    if (n > 0 && (fds[1].revents & POLLIN) && read(host->event_fd, &count, sizeof(count)) < 0)
        ASSERT(errno == EAGAIN);
    struct signalfd_siginfo signal;
    return n > 0 && (fds[0].revents & POLLIN) &&
           read(host->signal_fd, &signal, sizeof(signal)) == (ssize_t)sizeof(signal);
}

/*
 * Waits on descriptors and not on a condition: a signal handler may ask for the stop too, and may only
 * write to one.
 */
static void host_supervise(struct host *host, struct shards *shards, void (*on_running)(void *arg),
                           void *arg)
{
    bool told = false;
    bool stopping = false;
    while (!atomic_load(&host->stopped)) {
        if (host_wait(host)) {
            if (stopping)
                _exit(130);
            atomic_store(&host->asked, true);
        }
        if (!told && atomic_load(&host->running) == host->count) {
            told = true;
            if (on_running)
                on_running(arg);
        }
        if (told && !stopping && atomic_load(&host->asked)) {
            stopping = true;
            diag(DIAG_DEBUG, "io", "event=stop_begin");
            shards_stop_begin(shards);
        }
    }
}

/*
 * Signals are blocked before the first thread starts, so that all inherit it: a signal in a shard's
 * thread would interrupt its calls and be handled by nobody.
 */
enum err shards_run(struct shards *shards, void (*on_running)(void *arg), void *arg,
                    struct err_info *info)
{
    struct host *host = shards_host_arg(shards);
    ASSERT(host->signal_fd < 0);
    sigset_t signals;
    sigset_t before;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, &before);
    signal(SIGPIPE, SIG_IGN);
    host->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    enum err err = ERR_OK;
    if (host->signal_fd < 0)
        err = err_info_set(info, ERR_LIMIT, "cannot watch signals: %s", strerror(errno));
    if (err == ERR_OK)
        err = host_threads_start(host, info);
    if (err == ERR_OK) {
        host_supervise(host, shards, on_running, arg);
        host_threads_join(host, host->count);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}
