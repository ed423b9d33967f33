/* The rest of a call that began with one of blast's INVITEs (RFC 3261 §12.2.1.1, §13.2.2.4). */
#ifndef BENCH_CALLS_H
#define BENCH_CALLS_H

#include "messages.h"

/*
 * Writes `method` (ACK or BYE) of call number `id` as the 2xx in [text, end) asks for it: its Contact as Request-URI, its Record-Routes
 * in reverse order as Routes, From and To as they stand. Returns the length; 0 where the response lacks something or it does not fit.
 */
size_t in_dialog(char *out, size_t size, const struct series *series, const char *method, long id, const char *text,
                 const char *end);

/* Writes the ACK of a non-2xx final response to INVITE number `id` for user number `user`, of the INVITE's own transaction (§17.1.1.3). */
size_t ack_of_failure(char *out, size_t size, const struct series *series, long id, long user, const char *text,
                      const char *end);

#endif
