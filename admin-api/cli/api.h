/*
 * api.h - the Admin API over HTTP, as weirctl calls it: one connection that is kept open,
 * JSON both ways. Blocks. One thread. libcurl is known to api.c alone.
 */
#ifndef ADMIN_API_CLI_API_H
#define ADMIN_API_CLI_API_H

#include "common/json.h"

#include "common/err.h"

struct api;

/* url: "http://127.0.0.1:8001", copied; not contacted yet. */
int api_open(const char *url, struct api **out, struct err *e) WEIR_MUSTCHECK;
void api_close(struct api **a);
const char *api_url(const struct api *a);

/*
 * One call. body may be NULL. *status_out is the HTTP status, *answer_out (may be NULL) the
 * parsed body, the caller's, NULL when it is empty. Returns -1 with e when there is no
 * answer or none in JSON; any status is an answer.
 */
int api_call(struct api *a, const char *method, const char *path, const json_t *body,
             long *status_out, json_t **answer_out, struct err *e) WEIR_MUSTCHECK;

/* As api_call, but a status of 400 or more is an error with the answer's message. */
int api_do(struct api *a, const char *method, const char *path, const json_t *body,
           json_t **answer_out, struct err *e) WEIR_MUSTCHECK;

/*
 * All rows of a collection, page by page: a new array. query: "tags=a,b" or "". A
 * collection that is not there (404) is empty.
 */
int api_list(struct api *a, const char *path, const char *query, json_t **rows_out,
             struct err *e) WEIR_MUSTCHECK;

#endif
