/*
 * Values of settings as people write them: any text ends in a value or an error with a message, and
 * listeners that were taken are the same when written plainly and read again.
 */
#include <stdlib.h>

#include "common/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_listener(struct sbuf *to, const struct listen_addr *l)
{
    bool v6 = strchr(l->host, ':') != NULL || l->host[0] == '['; /* whether it is an address is found out on opening it */

    sbuf_addf(to, "%s%s%s%s:%u%s%s%s%s", to->len ? "," : "", v6 ? "[" : "", l->host, v6 ? "]" : "", l->port,
              l->ssl ? " ssl" : "", l->http2 ? " http2" : "", l->proxy_protocol ? " proxy_protocol" : "",
              l->reuseport ? " reuseport" : "");
    if (l->backlog)
        sbuf_addf(to, " backlog=%d", l->backlog);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct listen_addr *list, *again;
    size_t n, n_again;
    uint64_t value;
    struct err e = {0};

    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    WEIR_ASSERT(duration_parse(text, &value, &e) == 0 || e.message[0]);
    e.message[0] = '\0';
    WEIR_ASSERT(size_parse(text, &value, &e) == 0 || e.message[0]);
    e.message[0] = '\0';
    if (listen_parse(text, &list, &n, &e) == 0 && n > 0) {
        struct sbuf plain = {0};

        for (size_t i = 0; i < n; i++)
            write_listener(&plain, &list[i]);
        WEIR_ASSERT(listen_parse(plain.p, &again, &n_again, &e) == 0 && n_again == n);
        for (size_t i = 0; i < n; i++) {
            const struct listen_addr *a = &list[i], *b = &again[i];

            WEIR_ASSERT(strcmp(a->host, b->host) == 0 && a->port == b->port && a->backlog == b->backlog);
            WEIR_ASSERT(a->ssl == b->ssl && a->http2 == b->http2 && a->proxy_protocol == b->proxy_protocol);
        }
        free(again);
        sbuf_free(&plain);
        free(list);
    } else {
        WEIR_ASSERT(n == 0);
    }
    free(text);
    return 0;
}
