/* Consistent Overhead Byte Stuffing: frames without zero bytes, delimited by zeros.
 * The decoder writes to a buffer that the caller owns; the encoder to one it is given. */
#ifndef AXR_COBS_H
#define AXR_COBS_H

#include <stdbool.h>
#include <stdint.h>

/* Room that `bytes` bytes need at most once encoded, without delimiters. */
#define AXR_COBS_ROOM(bytes) ((bytes) + (bytes) / 254U + 1U)

typedef struct axr_cobs_decoder {
    uint8_t *buffer;
    uint32_t capacity;
    uint32_t size;      /* decoded bytes so far */
    uint8_t left;       /* bytes left in the current block */
    bool block_ends_in_zero;
    bool started;
    bool bad;
} axr_cobs_decoder_t;

typedef enum axr_cobs_event {
    AXR_COBS_MORE = 0,
    AXR_COBS_FRAME = 1, /* buffer holds `size` bytes; call axr_cobs_restart before the next byte */
    AXR_COBS_BAD = 2    /* not COBS, or longer than the buffer; restarted already */
} axr_cobs_event_t;

void axr_cobs_restart(axr_cobs_decoder_t *decoder);
axr_cobs_event_t axr_cobs_push(axr_cobs_decoder_t *decoder, uint8_t byte);

/* `out` holds AXR_COBS_ROOM(bytes). Returns the encoded size. */
uint32_t axr_cobs_encode(const uint8_t *data, uint32_t bytes, uint8_t *out);

#endif
