/* Numbers as text, without printf. The caller owns the buffers. */
#ifndef AXR_TEXT_H
#define AXR_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#define AXR_TEXT_NUMBER 32U

/* Decimal digits and a zero; returns `out`. */
char *axr_text_unsigned(uint64_t value, char out[AXR_TEXT_NUMBER]);

/* value / 2^shift with three decimals, rounded to nearest, halves to even (as "%.3f" does). */
char *axr_text_fixed(int64_t value, uint32_t shift, char out[AXR_TEXT_NUMBER]);

/* A finite value of magnitude below 2^31 with three decimals, rounded as above. */
char *axr_text_real(double value, char out[AXR_TEXT_NUMBER]);

/* As C's atoi, saturating: leading blanks, a sign, digits. */
int32_t axr_text_integer(const char *text);

/* Value of a hex digit in either case, or -1. */
int32_t axr_text_hex(char digit);

bool axr_text_equal(const char *left, const char *right);
uint32_t axr_text_length(const char *text);

#endif
