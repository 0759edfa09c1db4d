/* err.c - see err.h. */
#include "common/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    va_list ap;

    if (!e)
        return -1;
    e->code = code;
    e->path[0] = '\0';
    va_start(ap, fmt);
    vsnprintf(e->message, sizeof(e->message), fmt, ap);
    va_end(ap);
    return -1;
}

int err_sys(struct err *e, const char *fmt, ...)
{
    int saved = errno;
    va_list ap;
    size_t len;

    if (!e)
        return -1;
    e->code = ERR_IO;
    e->path[0] = '\0';
    va_start(ap, fmt);
    vsnprintf(e->message, sizeof(e->message), fmt, ap);
    va_end(ap);
    len = strlen(e->message);
    snprintf(e->message + len, sizeof(e->message) - len, ": %s", strerror(saved));
    return -1;
}

int err_in(struct err *e, const char *step)
{
    char path[sizeof(e->path)];

    if (!e)
        return -1;
    snprintf(path, sizeof(path), e->path[0] ? "%s.%s" : "%s%s", step, e->path);
    memcpy(e->path, path, sizeof(path));
    return -1;
}

void err_clear(struct err *e)
{
    if (!e)
        return;
    e->code = ERR_NONE;
    e->path[0] = e->message[0] = '\0';
}

const char *err_text(const struct err *e)
{
    static _Thread_local char text[sizeof(e->path) + sizeof(e->message) + 4];

    if (e->path[0])
        snprintf(text, sizeof(text), "%s: %s", e->path, e->message);
    else
        snprintf(text, sizeof(text), "%s", e->message);
    return text;
}

const char *err_word(enum err_code code)
{
    switch (code) {
#define X(code, word)                                                                              \
    case code:                                                                                     \
        return word;
        ERR_CODES(X)
#undef X
    }
    return "unknown";
}
