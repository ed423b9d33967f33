#include "quantiles.h"

#include <stdlib.h>

static int by_value(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

struct quantiles quantiles_of(uint32_t *values, long count, long answered) {
  if (answered == 0) return (struct quantiles){0};
  /* Unanswered requests stand first when sorted. */
  qsort(values, (size_t)count, sizeof *values, by_value);
  const uint32_t *from = values + (count - answered);
  double last = (double)(answered - 1);
  return (struct quantiles){from[(long)(0.5 * last)], from[(long)(0.99 * last)], from[answered - 1]};
}
