/*
 * RFC 3261's retransmission timers over UDP for very many messages: waits are T1 times a power of two, and all that wait equally long come due in
 * the order in which they began, so that a queue for each length is all it takes. Nothing is ever taken out early: whoever gets an entry
 * looks whether it still matters.
 */
#ifndef BENCH_TIMERS_H
#define BENCH_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WAITS = 6 }; /* T1 to 32 T1 */

struct wait {
  int64_t due;
  long of;
};

/* A ring that grows; `size` is a power of two. */
struct waits {
  struct wait *ring;
  size_t first, count, size;
};

struct timers {
  struct waits by_length[WAITS];
};

/* Who sends again, and up to which interval. */
enum schedule {
  INVITE_REQUEST, /* Timer A, doubling; Timer B (§17.1.1.2) */
  CAPPED,         /* a BYE: Timer E, doubling up to T2; Timer F (§17.1.2.2). A 2xx to INVITE: the same (§13.3.1.4) */
};

/*
 * `of` comes due after the wait that follows its transmission number `sent` (1: the first). False where it was sent often enough: 64 T1
 * have passed since the first, and nobody waits any longer.
 */
bool arm(struct timers *timers, enum schedule schedule, int sent, int64_t now, long of);

/* The next that is due, into `of`; false where there is none. */
bool come_due(struct timers *timers, int64_t now, long *of);

#endif
