#define _GNU_SOURCE
#include "timers.h"
#include "udp.h"

#include <stdlib.h>

static const int64_t T1_NS = 500000000;

/* Powers of two, times T1; the last wait ends 64 T1 after the first transmission. */
static const signed char TIMER_A[] = {0, 1, 2, 3, 4, 5, 0};
static const signed char TIMER_E[] = {0, 1, 2, 3, 3, 3, 3, 3, 3, 3, 0};

static void append(struct waits *waits, struct wait wait) {
  if (waits->count == waits->size) {
    size_t size = waits->size ? 2 * waits->size : 1024;
    struct wait *ring = malloc(size * sizeof *ring);
    if (!ring) die("no memory for %zu timers", size);
    for (size_t i = 0; i < waits->count; i++) ring[i] = waits->ring[(waits->first + i) & (waits->size - 1)];
    free(waits->ring);
    *waits = (struct waits){ring, 0, waits->count, size};
  }
  waits->ring[(waits->first + waits->count++) & (waits->size - 1)] = wait;
}

bool arm(struct timers *timers, enum schedule schedule, int sent, int64_t now, long of) {
  const signed char *powers = schedule == INVITE_REQUEST ? TIMER_A : TIMER_E;
  int most = (int)(schedule == INVITE_REQUEST ? sizeof TIMER_A : sizeof TIMER_E);
  if (sent > most) return false;
  int power = powers[sent - 1];
  append(&timers->by_length[power], (struct wait){now + (T1_NS << power), of});
  return true;
}

bool come_due(struct timers *timers, int64_t now, long *of) {
  for (int length = 0; length < WAITS; length++) {
    struct waits *waits = &timers->by_length[length];
    if (waits->count == 0 || waits->ring[waits->first].due > now) continue;
    *of = waits->ring[waits->first].of;
    waits->first = (waits->first + 1) & (waits->size - 1);
    waits->count--;
    return true;
  }
  return false;
}
