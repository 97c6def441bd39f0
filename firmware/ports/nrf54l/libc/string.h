/* The part of the C library's <string.h> that the firmware uses; see ../memory.c. A compiler for a
 * chip without an operating system may bring no library. */
#ifndef AXR_STRING_H
#define AXR_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *left, const void *right, size_t size);
size_t strlen(const char *text);

#endif
