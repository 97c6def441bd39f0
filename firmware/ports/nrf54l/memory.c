/*
 * The four memory functions that compilers call by themselves, and strlen; there is no C library here.
 * Built with -fno-builtin, else each would become a call to itself. Owns nothing.
 */
#include <string.h>

#include <stdint.h>

/* The core reads and writes unaligned words by itself; only the bus does not like them often. */
typedef uint32_t __attribute__((may_alias, aligned(1))) axr_any_word_t;

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    uint8_t *target = to;
    const uint8_t *source = from;
    while (size >= 16U) {
        axr_any_word_t *words = (axr_any_word_t *)target;
        const axr_any_word_t *values = (const axr_any_word_t *)source;
        words[0] = values[0];
        words[1] = values[1];
        words[2] = values[2];
        words[3] = values[3];
        target += 16;
        source += 16;
        size -= 16U;
    }
    while (size > 0U) {
        *target++ = *source++;
        --size;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t size)
{
    uint8_t *target = to;
    const uint8_t *source = from;
    if (target <= source || target >= source + size) {
        while (size > 0U) {
            *target++ = *source++;
            --size;
        }
        return to;
    }
    while (size > 0U) {
        --size;
        target[size] = source[size];
    }
    return to;
}

void *memset(void *to, int value, size_t size)
{
    uint8_t *target = to;
    const uint8_t byte = (uint8_t)value;
    const uint32_t word = 0x01010101U * byte;
    while (size >= 16U) {
        axr_any_word_t *words = (axr_any_word_t *)target;
        words[0] = word;
        words[1] = word;
        words[2] = word;
        words[3] = word;
        target += 16;
        size -= 16U;
    }
    while (size > 0U) {
        *target++ = byte;
        --size;
    }
    return to;
}

int memcmp(const void *left, const void *right, size_t size)
{
    const uint8_t *first = left;
    const uint8_t *second = right;
    for (size_t i = 0U; i < size; ++i) {
        if (first[i] != second[i]) {
            return (int)first[i] - (int)second[i];
        }
    }
    return 0;
}

size_t strlen(const char *text)
{
    size_t size = 0U;
    while (text[size] != '\0') {
        ++size;
    }
    return size;
}
