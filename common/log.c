/* log.c - see log.h. */
#include "common/log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

_Atomic int log_threshold = LOG_NOTICE;
static _Atomic int log_fd = STDERR_FILENO;

static const char *const words[] = {
#define X(level, word) word,
    LOG_LEVELS(X)
#undef X
};

bool log_level_parse(const char *word, enum log_level *out)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(word, words[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

const char *log_level_word(enum log_level level)
{
    return words[level];
}

int log_open(const char *path, struct err *e)
{
    int fd = STDERR_FILENO, old;

    if (path) {
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
        if (fd < 0)
            return err_sys(e, "log file '%s'", path);
    }
    old = atomic_exchange(&log_fd, fd);
    /* another thread may be between load and write: its line goes to the old file or, at
     * worst, nowhere; never to a descriptor of something else, so the number is kept */
    if (old != STDERR_FILENO && old != fd) {
        dup2(fd, old);
        atomic_store(&log_fd, old);
        if (fd != STDERR_FILENO)
            close(fd);
    }
    return 0;
}

void log_write(enum log_level level, const char *event, const char *fmt, ...)
{
    char line[2048];
    uint64_t now = clock_wall_us();
    time_t seconds = (time_t)(now / 1000000u);
    struct tm tm;
    size_t n;
    va_list ap;
    int more;

    gmtime_r(&seconds, &tm);
    n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof(line) - n, ".%03uZ %s %s ",
                          (unsigned)(now / 1000u % 1000u), words[level], event);
    va_start(ap, fmt);
    more = vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
    va_end(ap);
    if (more > 0)
        n = size_min(n + (size_t)more, sizeof(line) - 2);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?'; /* a client's bytes must not forge a line */
    line[n++] = '\n';
    if (write(atomic_load(&log_fd), line, n) < 0)
        return; /* nowhere left to say so */
}

bool log_limit_pass(struct log_limit *limit, unsigned *held_out)
{
    uint64_t now = clock_mono_us(), next = atomic_load(&limit->next_us);

    if (now < next || !atomic_compare_exchange_strong(&limit->next_us, &next, now + 1000000u)) {
        atomic_fetch_add(&limit->held, 1);
        return false;
    }
    *held_out = atomic_exchange(&limit->held, 0);
    return true;
}
