/* The 2xx of INVITEs that a user agent server sends again until their ACK comes (RFC 3261 §13.3.1.4). Calls are told apart by the number in caller's Call-IDs. */
#ifndef BENCH_UNACKED_H
#define BENCH_UNACKED_H

#include "udp.h"

enum settled { ACKED, BYED };

/* `reply` answers the INVITE in `request`. One that came again gets its answer, and no other timer. */
void await_ack(const char *request, size_t length, const char *reply, size_t reply_length, const struct sockaddr_in *to);

/* The ACK or the BYE in `request` is there. */
void settle(const char *request, size_t length, enum settled how);

/* Sends again what is due. */
void send_unacked(int fd, int64_t now);

/* One line of JSON into a file. */
void write_counts(const char *path, unsigned dropped);

#endif
