#include "axr_text.h"

char *axr_text_unsigned(uint64_t value, char out[AXR_TEXT_NUMBER])
{
    char digits[20];
    uint32_t count = 0;
    do {
        digits[count++] = (char)('0' + (char)(value % 10U));
        value /= 10U;
    } while (value != 0U);
    uint32_t to = 0;
    while (count != 0U) {
        out[to++] = digits[--count];
    }
    out[to] = '\0';
    return out;
}

static char *write_thousandths(bool negative, uint64_t whole, uint32_t thousandths, char *out)
{
    char *to = out;
    if (negative) {
        *to++ = '-';
    }
    (void)axr_text_unsigned(whole, to);
    while (*to != '\0') {
        to++;
    }
    *to++ = '.';
    *to++ = (char)('0' + (char)(thousandths / 100U));
    *to++ = (char)('0' + (char)(thousandths / 10U % 10U));
    *to++ = (char)('0' + (char)(thousandths % 10U));
    *to = '\0';
    return out;
}

char *axr_text_fixed(int64_t value, uint32_t shift, char out[AXR_TEXT_NUMBER])
{
    bool negative = value < 0;
    uint64_t magnitude = negative ? 0U - (uint64_t)value : (uint64_t)value;
    uint64_t whole = shift < 64U ? magnitude >> shift : 0U;
    uint64_t part = shift < 64U ? magnitude - (whole << shift) : magnitude;
    bool sticky = false;
    for (; shift > 53U; shift--) { /* keep part * 1000 within 64 bits */
        sticky = sticky || (part & 1U) != 0U;
        part >>= 1;
    }
    uint64_t scaled = part * 1000U;
    uint64_t rest = scaled & (((uint64_t)1 << shift) - 1U);
    uint64_t half = shift != 0U ? (uint64_t)1 << (shift - 1U) : 1U;
    uint64_t thousandths = scaled >> shift;
    if (rest > half || (rest == half && (sticky || (thousandths & 1U) != 0U))) {
        thousandths++;
    }
    if (thousandths == 1000U) {
        thousandths = 0;
        whole++;
    }
    return write_thousandths(negative, whole, (uint32_t)thousandths, out);
}

char *axr_text_real(double value, char out[AXR_TEXT_NUMBER])
{
    /* 2^32 steps: the conversion is exact to 2^-33, far below the three decimals shown. */
    return axr_text_fixed((int64_t)(value * 4294967296.0), 32U, out);
}

int32_t axr_text_integer(const char *text)
{
    while (*text == ' ' || *text == '\t') {
        text++;
    }
    bool negative = *text == '-';
    if (*text == '-' || *text == '+') {
        text++;
    }
    int32_t value = 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        int32_t digit = (int32_t)(*text - '0');
        value = value > (INT32_MAX - digit) / 10 ? INT32_MAX : value * 10 + digit;
    }
    return negative ? -value : value;
}

int32_t axr_text_hex(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return (int32_t)(digit - '0');
    }
    if (digit >= 'a' && digit <= 'f') {
        return (int32_t)(digit - 'a') + 10;
    }
    return digit >= 'A' && digit <= 'F' ? (int32_t)(digit - 'A') + 10 : -1;
}

bool axr_text_equal(const char *left, const char *right)
{
    while (*left != '\0' && *left == *right) {
        left++;
        right++;
    }
    return *left == *right;
}

uint32_t axr_text_length(const char *text)
{
    uint32_t length = 0;
    while (text[length] != '\0') {
        length++;
    }
    return length;
}
