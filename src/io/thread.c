/*
 * Role: starts threads the way every thread of the process is started.
 *
 * State: none.
 *
 * Invariants
 * (1) No thread but main ever takes a signal: they start with all of them blocked.
 *
 * Ownership and shard: init, main thread.
 *
 * Failure modes: the system refuses a thread; the caller gets ERR_LIMIT with the reason and undoes
 * its start.
 */
#include "io/thread.h"

#include <limits.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define THREAD_STACK_FACTOR 8
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define THREAD_STACK_FACTOR 8
#endif
#endif
#ifndef THREAD_STACK_FACTOR
#define THREAD_STACK_FACTOR 1
#endif

/*
 * Signals are blocked around the creation, so that the new thread starts with all of them blocked.
 * Sanitizers put their bookkeeping on the stack and get more of it.
 */
enum err thread_start(pthread_t *ret_thread, const char *name, size_t stack, void *(*fn)(void *arg),
                      void *arg, struct err_info *info)
{
    ASSERT(fn && ret_thread);
    ASSERT(strlen(name) < 16);
    ASSERT(stack >= 64u * 1024);
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    int rc = pthread_attr_setstacksize(&attr, stack * THREAD_STACK_FACTOR);
    if (rc == 0)
        rc = pthread_create(ret_thread, &attr, fn, arg);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return err_info_set(info, ERR_LIMIT, "cannot start thread '%s': %s", name, strerror(rc));
    pthread_setname_np(*ret_thread, name);
    return ERR_OK;
}
