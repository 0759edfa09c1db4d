/* rand.h - random bytes: from the kernel for secrets and ids, cheap ones for jitter. */
#ifndef COMMON_RAND_H
#define COMMON_RAND_H

#include "common/base.h"

/* Unpredictable bytes, buffered per thread so that an id costs no system call. */
void rand_bytes(void *p, size_t len);

/* n characters of [0-9A-Za-z] and a NUL; unpredictable. */
void rand_token(char *out, size_t n);

/* Below limit (> 0); not for secrets. */
uint64_t rand_below(uint64_t limit);

#endif
