/* limits.c - see limits.h. */
#include "dataplane/observe/limits.h"

#include "dataplane/observe/metrics.h"

void limit_hit(enum limit which)
{
    static const struct str labels[LIMIT_COUNT] = {
#define X(symbol, label) [symbol] = {label, sizeof(label) - 1},
        LIMITS(X)
#undef X
    };

    metric_add_with(M_LIMIT_HITS, &labels[which], 1);
}
