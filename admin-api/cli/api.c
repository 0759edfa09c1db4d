/* api.c - see api.h. */
#include "admin-api/cli/api.h"

#include <stdlib.h>

#include <curl/curl.h>

#include "common/str.h"

#define CONNECT_TIMEOUT_MS 5000L
#define CALL_TIMEOUT_MS    60000L
#define ANSWER_MAX_BYTES   (256u << 20)
#define PAGE_SIZE          1000

struct api {
    char *url; /* without a slash at its end */
    CURL *curl;
    struct curl_slist *headers;
    struct sbuf answer;
};

int api_open(const char *url, struct api **out, struct err *e)
{
    struct str s = str_trim(str_of(url));
    struct api *a;

    *out = NULL;
    if (!str_starts(s, STR("http://")) && !str_starts(s, STR("https://")))
        return err_set(e, ERR_INVALID,
                       "admin_url = '%.200s': expected a URL like http://127.0.0.1:8001", url);
    while (s.len && s.p[s.len - 1] == '/')
        s.len--;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_set(e, ERR_INTERNAL, "the HTTP client cannot start");
    a = xcalloc(1, sizeof(*a));
    a->url = str_dup(s);
    a->curl = curl_easy_init();
    a->headers = curl_slist_append(NULL, "Content-Type: application/json");
    a->headers = curl_slist_append(a->headers, "Expect:");
    WEIR_ASSERT(a->curl && a->headers);
    *out = a;
    return 0;
}

void api_close(struct api **a)
{
    if (!*a)
        return;
    curl_slist_free_all((*a)->headers);
    curl_easy_cleanup((*a)->curl);
    sbuf_free(&(*a)->answer);
    free((*a)->url);
    free(*a);
    *a = NULL;
    curl_global_cleanup();
}

const char *api_url(const struct api *a)
{
    return a->url;
}

static size_t on_bytes(char *bytes, size_t size, size_t n, void *arg)
{
    struct sbuf *answer = arg;

    if (answer->len + size * n > ANSWER_MAX_BYTES)
        return 0; /* ends the transfer */
    sbuf_add(answer, bytes, size * n);
    return size * n;
}

static int parse_answer(struct api *a, const char *method, const char *path, long status,
                        json_t **out, struct err *e)
{
    json_error_t why;

    *out = NULL;
    if (a->answer.len == 0)
        return 0;
    *out = json_loadb(a->answer.p, a->answer.len, JSON_DECODE_ANY, &why);
    if (*out)
        return 0;
    return err_set(
        e, ERR_PEER,
        "%s %s%s: expected a JSON answer, got status %ld and something else; is this an Admin API?",
        method, a->url, path, status);
}

int api_call(struct api *a, const char *method, const char *path, const json_t *body,
             long *status_out, json_t **answer_out, struct err *e)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL, why[CURL_ERROR_SIZE] = "";
    struct sbuf url = {0};
    json_t *answer = NULL;
    CURLcode code;
    int rc = 0;

    sbuf_addf(&url, "%s%s", a->url, path);
    sbuf_clear(&a->answer);
    curl_easy_reset(a->curl); /* keeps the connection */
    curl_easy_setopt(a->curl, CURLOPT_URL, url.p);
    curl_easy_setopt(a->curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(a->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(a->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(a->curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(a->curl, CURLOPT_TIMEOUT_MS, CALL_TIMEOUT_MS);
    curl_easy_setopt(a->curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(a->curl, CURLOPT_USERAGENT, "weirctl/" WEIR_VERSION);
    curl_easy_setopt(a->curl, CURLOPT_HTTPHEADER, a->headers);
    curl_easy_setopt(a->curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(a->curl, CURLOPT_WRITEDATA, &a->answer);
    if (text) {
        curl_easy_setopt(a->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(text));
        curl_easy_setopt(a->curl, CURLOPT_POSTFIELDS, text);
    }
    code = curl_easy_perform(a->curl);
    if (code != CURLE_OK) {
        long os_errno = 0;
        curl_easy_getinfo(a->curl, CURLINFO_OS_ERRNO, &os_errno);
        rc = err_set(e, ERR_IO,
                     "no answer from the Admin API at %s: %s (--admin-url or WEIR_ADMIN_URL says "
                     "where it is)",
                     a->url,
                     code == CURLE_COULDNT_CONNECT && os_errno ? strerror((int)os_errno)
                     : why[0]                                  ? why
                                                               : curl_easy_strerror(code));
    } else {
        curl_easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, status_out);
        rc = parse_answer(a, method, path, *status_out, &answer, e);
    }
    free(text);
    sbuf_free(&url);
    if (answer_out)
        *answer_out = answer;
    else
        json_decref(answer);
    return rc;
}

/* The message of the answer; fields are behind it when it does not name them itself. */
static int refused(const char *method, const char *path, long status, const json_t *answer,
                   struct err *e)
{
    const char *message = json_string_value(json_object_get(answer, "message"));
    json_t *fields = json_object_get(answer, "fields");
    char *text = !message && fields ? json_dumps(fields, JSON_COMPACT) : NULL;

    err_set(e, status == 404 ? ERR_NOT_FOUND : ERR_INVALID, "%s %s: status %ld%s%s", method, path,
            status, message || text ? ": " : "",
            message ? message
            : text  ? text
                    : "");
    free(text);
    return -1;
}

int api_do(struct api *a, const char *method, const char *path, const json_t *body,
           json_t **answer_out, struct err *e)
{
    json_t *answer = NULL;
    long status = 0;
    int rc = api_call(a, method, path, body, &status, &answer, e);

    if (rc == 0 && status >= 400)
        rc = refused(method, path, status, answer, e);
    if (rc == 0 && answer_out)
        *answer_out = answer;
    else
        json_decref(answer);
    return rc;
}

int api_list(struct api *a, const char *path, const char *query, json_t **rows_out, struct err *e)
{
    struct sbuf next = {0};
    int rc = 0;

    *rows_out = json_array();
    sbuf_addf(&next, "%s?size=%d%s%s", path, PAGE_SIZE, query[0] ? "&" : "", query);
    while (rc == 0 && next.len) {
        json_t *page = NULL, *rows;
        const char *more;

        rc = api_do(a, "GET", next.p, NULL, &page, e);
        if (rc != 0 && e->code == ERR_NOT_FOUND) {
            rc = 0;
            break;
        }
        rows = json_object_get(page, "data");
        more = json_string_value(json_object_get(page, "offset"));
        sbuf_clear(&next);
        if (rc == 0 && !json_is_array(rows) && json_object_size(rows) > 0)
            rc = err_set(e, ERR_PEER, "GET %s: expected a page with an array 'data'", path);
        if (rc == 0 && json_is_array(rows))
            json_array_extend(*rows_out, rows);
        if (more) {
            char *escaped = curl_easy_escape(a->curl, more, 0);
            sbuf_addf(&next, "%s?size=%d%s%s&offset=%s", path, PAGE_SIZE, query[0] ? "&" : "",
                      query, escaped);
            curl_free(escaped);
        }
        json_decref(page);
    }
    sbuf_free(&next);
    if (rc != 0) {
        json_decref(*rows_out);
        *rows_out = NULL;
    }
    return rc;
}
