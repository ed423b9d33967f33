#define _GNU_SOURCE
#include "calls.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { MAX_ROUTES = 8 };

struct field {
  const char *text;
  int length;
};

struct draft {
  char *out;
  size_t size, length;
};

/* Adds text; beyond the buffer's end only counts, so that one check at the end is enough. */
__attribute__((format(printf, 2, 3))) static void add(struct draft *draft, const char *format, ...) {
  size_t room = draft->length < draft->size ? draft->size - draft->length : 0;
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(draft->out + (room ? draft->length : 0), room, format, arguments);
  va_end(arguments);
  if (length > 0) draft->length += (size_t)length;
}

/* The value of a header line that begins with `name`, which ends in ": ". */
static bool takes(const char *name, const char *line, const char *line_end, struct field *value) {
  size_t length = strlen(name);
  if ((size_t)(line_end - line) < length || memcmp(line, name, length) != 0) return false;
  *value = (struct field){line + length, (int)(line_end - line - (long)length)};
  return true;
}

size_t in_dialog(char *out, size_t size, const struct series *series, const char *method, long id, const char *text,
                 const char *end) {
  struct field routes[MAX_ROUTES], from = {0}, to = {0}, contact = {0};
  int count = 0;
  for (const char *line = text, *line_end; line < end; line = line_end + 2) {
    line_end = memmem(line, (size_t)(end - line), "\r\n", 2);
    if (!line_end || line_end == line) break;
    if (takes("From: ", line, line_end, &from) || takes("To: ", line, line_end, &to)) continue;
    if (takes("Contact: <", line, line_end, &contact)) contact.length--; /* its > */
    else if (count < MAX_ROUTES && takes("Record-Route: ", line, line_end, &routes[count])) count++;
  }
  if (!from.text || !to.text || contact.length <= 0) return 0;
  struct draft draft = {out, size, 0};
  add(&draft, "%s %.*s SIP/2.0\r\nVia: %sbranch=z9hG4bK-%08x-%08ld%c;rport\r\nMax-Forwards: 70\r\n", method,
      contact.length, contact.text, series->sent_by, series->run, id, method[0]);
  while (count-- > 0) add(&draft, "Route: %.*s\r\n", routes[count].length, routes[count].text);
  add(&draft, "From: %.*s\r\nTo: %.*s\r\nCall-ID: %08x-%08ld@bench.invalid\r\n", from.length, from.text, to.length,
      to.text, series->run, id);
  add(&draft, "CSeq: %d %s\r\nContent-Length: 0\r\n\r\n", method[0] == 'A' ? 314159 : 314160, method);
  return draft.length < size ? draft.length : 0;
}

size_t ack_of_failure(char *out, size_t size, const struct series *series, long id, long user, const char *text,
                      const char *end) {
  struct field from = {0}, to = {0};
  for (const char *line = text, *line_end; line < end; line = line_end + 2) {
    line_end = memmem(line, (size_t)(end - line), "\r\n", 2);
    if (!line_end || line_end == line) break;
    if (!takes("From: ", line, line_end, &from)) takes("To: ", line, line_end, &to);
  }
  if (!from.text || !to.text) return 0;
  struct draft draft = {out, size, 0};
  add(&draft, "ACK sip:clyde%05ld@example.com SIP/2.0\r\nVia: %sbranch=z9hG4bK-%08x-%08ld;rport\r\nMax-Forwards: 70\r\n", user,
      series->sent_by, series->run, id);
  add(&draft, "From: %.*s\r\nTo: %.*s\r\nCall-ID: %08x-%08ld@bench.invalid\r\n", from.length, from.text, to.length,
      to.text, series->run, id);
  add(&draft, "CSeq: 314159 ACK\r\nContent-Length: 0\r\n\r\n");
  return draft.length < size ? draft.length : 0;
}
