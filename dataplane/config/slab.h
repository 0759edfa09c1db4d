/*
 * slab.h - memory for the many small blocks that versions of a configuration are made of.
 *
 * Blocks of one size lie side by side, in the order in which they were asked for, without headers
 * between them; a hundred thousand routes are half a million blocks. Empty regions go back to the
 * system. Threads: the config thread alone, so there is no lock. Never blocks.
 */
#ifndef DATAPLANE_CONFIG_SLAB_H
#define DATAPLANE_CONFIG_SLAB_H

#include <stddef.h>

/* At least size bytes, not zeroed, aligned to 16. Never NULL: no memory ends the process. */
void *slab_alloc(size_t size);

/* p is slab_alloc's and not NULL. */
void slab_free(void *p);

/* What p really has room for. */
size_t slab_size(const void *p);

#endif
