/* Quantiles of what was measured, one value for each request. */
#ifndef BENCH_QUANTILES_H
#define BENCH_QUANTILES_H

#include <stdint.h>

struct quantiles {
  double p50, p99, max;
};

/* Of the `answered` requests among `count` values. The others hold 0. Sorts the values. */
struct quantiles quantiles_of(uint32_t *values, long count, long answered);

#endif
