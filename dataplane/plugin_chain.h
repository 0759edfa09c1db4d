/*
 * plugin_chain.h - what plugin_chain.c and plugin_api.c share. Private to the two.
 *
 * chain_state is the part of a run that most exchanges never need: plugins' scratch, and the
 * response fields that were set before there was a response. It lives in the arena.
 */
#ifndef DATAPLANE_PLUGIN_CHAIN_H
#define DATAPLANE_PLUGIN_CHAIN_H

#include "dataplane/plugin.h"

enum resp_edit_op { EDIT_SET, EDIT_ADD, EDIT_REMOVE };

struct resp_edit {
    enum resp_edit_op op;
    struct str name, value;
    struct resp_edit *next;
};

struct scratch {
    const struct plugin_contract *contract; /* a name has one row per exchange */
    void *mem;
    struct scratch *next;
};

struct chain_state {
    struct scratch *scratches;
    struct resp_edit *edits, **edits_end; /* in the order they were made */
};

/* Made at the first use; NULL at the arena's cap. */
struct chain_state *chain_state(struct exchange *x);

/* The response's fields exist already and are edited directly. */
static inline bool chain_has_response(const struct exchange *x)
{
    return x->run.phase >= PH_HEADER_FILTER;
}

void chain_out_of_memory(struct exchange *x);

/* True when it could be done; else the run remembers that memory ran out. */
static inline bool chain_check_memory(struct exchange *x, bool done)
{
    if (unlikely(!done))
        chain_out_of_memory(x);
    return done;
}

#endif
