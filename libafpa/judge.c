/* SPDX-License-Identifier: Apache-2.0
 *
 * Around the stages, judging: a segment that nobody uses, before it is adopted.
 *
 * The processes of a server that is started as root run as another user, who can write all of the segment.  To judge a segment is to
 * take its locks, to mend what a dead holder of one left, and to follow its records from one to the next.  Whoever does that is at
 * the mercy of whoever wrote it, down to the list of robust locks that libc keeps.  So root does not do it.  A child process does,
 * with the rights of that user, who thereby gains nothing.  Its verdict is believed, since root follows nothing in the segment anyway.
 * A child that dies, or says nothing in time, has shown that something is wrong.  It is done the same way where there are no rights to
 * give up.
 *
 * After fork() in a process of many threads, locks of the other threads may be held for ever in the child: it calls nothing of the
 * host, not even its log.  The host may reap any child that it finds, or leave that to the kernel; so SIGCHLD is blocked in this
 * thread meanwhile, and a child that somebody else has reaped is judged by what it wrote alone.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <afpa/inspect.h>
#include <afpa/log.h>

#include "judge.h"

#define LIMIT_MS 30000u
#define LIMIT_MS_PER_GB 1000u /* 10 times what it takes for tables that are in memory */

typedef enum word { WORD_NONE, WORD_SOUND = 's', WORD_WRONG = 'w' } word_t;

/* What the child writes, all at once; pipes do not tear what is that short. */
typedef struct verdict {
    char word;
    char problem[200];
} verdict_t;

unsigned afpa__judge_limit_ms(uint64_t size)
{
    return LIMIT_MS + (unsigned)(size >> 30) * LIMIT_MS_PER_GB;
}

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- the child ---- */

bool afpa__judge_rights(const afpa__judge_t *judge)
{
    if (geteuid() != 0 || judge->user == 0)
        return true;
    return setgroups(0, NULL) == 0 && setresgid(judge->group, judge->group, judge->group) == 0 &&
           setresuid(judge->user, judge->user, judge->user) == 0;
}

/* The host's handlers are for the host; what it is told by signals is not meant for this child. */
static void signals_settle(void)
{
    static const int deadly[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    sigset_t all;

    sigfillset(&all);
    for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
        signal(deadly[i], SIG_DFL);
        sigdelset(&all, deadly[i]);
    }
    pthread_sigmask(SIG_SETMASK, &all, NULL);
}

static void keep_first(void *context, const char *problem)
{
    verdict_t *verdict = context;

    if (!verdict->problem[0])
        snprintf(verdict->problem, sizeof(verdict->problem), "%s", problem);
}

static void tell(afpa_zone_t *zone, const afpa__judge_t *judge, int pipe)
{
    verdict_t verdict = {.word = WORD_NONE};

    signals_settle();
    afpa_log_set(NULL, NULL, AFPA_LOG_ERROR);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* there is much more in this process than the segment */
    if (!afpa__judge_rights(judge) || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return;
    verdict.word = afpa_inspect_verify(zone, keep_first, &verdict) == 0 ? WORD_SOUND : WORD_WRONG;
    (void)!write(pipe, &verdict, sizeof(verdict));
}

/* ---- its parent ---- */

/* Waits for the other end to close, and keeps what came until then.  false: it was not closed in time. */
static bool hear(int pipe, uint64_t until, verdict_t *verdict, size_t *length)
{
    struct pollfd ready = {.fd = pipe, .events = POLLIN};
    char *to = (char *)verdict, surplus;

    for (uint64_t now = now_ms(); now < until; now = now_ms()) {
        ssize_t n;

        if (poll(&ready, 1, (int)(until - now)) <= 0)
            continue;
        n = *length < sizeof(*verdict) ? read(pipe, to + *length, sizeof(*verdict) - *length) : read(pipe, &surplus, 1);
        if (n == 0)
            return true;
        if (n < 0 && errno != EINTR)
            return true;
        if (n > 0 && *length < sizeof(*verdict))
            *length += (size_t)n;
    }
    return false;
}

/* How the child ended, as waitpid() says; 0 too if somebody else has reaped it.  false: it did not in time, and was killed. */
static bool reap(pid_t pid, uint64_t until, int *status)
{
    struct timespec pause = {0, 1000000};
    pid_t got;

    *status = 0;
    while ((got = waitpid(pid, status, WNOHANG)) == 0 || (got < 0 && errno == EINTR)) {
        if (now_ms() >= until) {
            kill(pid, SIGKILL);
            while (waitpid(pid, status, 0) < 0 && errno == EINTR)
                continue;
            return false;
        }
        nanosleep(&pause, NULL);
    }
    return true;
}

/* It comes from a process that the segment may have got hold of, and goes to the host's log. */
static void make_printable(char *text, size_t size)
{
    text[size - 1] = 0;
    for (; *text; text++)
        if (*text < ' ' || *text > '~')
            *text = '?';
}

static bool await(pid_t pid, int pipe, unsigned limit_ms, afpa_error_t *why)
{
    uint64_t until = now_ms() + limit_ms;
    verdict_t verdict = {.word = WORD_NONE};
    size_t length = 0;
    bool closed = hear(pipe, until, &verdict, &length);
    int status;

    if (!reap(pid, until, &status) || !closed) {
        snprintf(why->text, sizeof(why->text), "it could not be judged within %u s", (limit_ms + 999) / 1000);
        return false;
    }
    if (length == sizeof(verdict) && verdict.word == WORD_SOUND && status == 0)
        return true;
    make_printable(verdict.problem, sizeof(verdict.problem));
    if (length == sizeof(verdict) && verdict.word == WORD_WRONG)
        snprintf(why->text, sizeof(why->text), "%s", verdict.problem);
    else if (WIFSIGNALED(status))
        snprintf(why->text, sizeof(why->text), "the process that judged it died of signal %d", WTERMSIG(status));
    else
        snprintf(why->text, sizeof(why->text), "the process that was to judge it could not");
    return false;
}

static bool fork_and_await(afpa_zone_t *zone, const afpa__judge_t *judge, const int ends[2], afpa_error_t *why)
{
    pid_t pid = fork();
    bool sound;
    int saved = errno;

    if (pid == 0) {
        tell(zone, judge, ends[1]);
        _exit(0);
    }
    close(ends[1]);
    if (pid < 0)
        snprintf(why->text, sizeof(why->text), "no process can be had to judge it: %s", strerror(saved));
    sound = pid > 0 && await(pid, ends[0], judge->limit_ms, why);
    close(ends[0]);
    return sound;
}

bool afpa__judge_sound(afpa_zone_t *zone, const afpa__judge_t *judge, afpa_error_t *why)
{
    sigset_t child, before;
    int ends[2];
    bool sound;

    if (pipe2(ends, O_CLOEXEC) != 0) {
        snprintf(why->text, sizeof(why->text), "no pipe can be had to judge it: %s", strerror(errno));
        return false;
    }
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &child, &before);
    sound = fork_and_await(zone, judge, ends, why);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return sound;
}
