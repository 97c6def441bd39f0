/*
 * Frames and text commands on the port's serial interface.
 *
 * The link owns one receive and one transmit buffer. A received message stays valid until
 * axr_link_release(); nothing is read from the port meanwhile. One message is sent at a time.
 *
 * The first byte of a message decides: zero starts a frame, anything else a text command that ends
 * in '%'. So a text client and a binary host can take turns without a switch.
 */
#ifndef AXR_LINK_H
#define AXR_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "axr_protocol.h"

#define AXR_TEXT_MAX 255U

typedef enum axr_link_event {
    AXR_LINK_NOTHING = 0,
    AXR_LINK_FRAME = 1,
    AXR_LINK_TEXT = 2
} axr_link_event_t;

typedef struct axr_message {
    axr_frame_header_t header;
    uint8_t *body;          /* of a frame; aligned to 8 */
    uint32_t body_bytes;
    char *text;             /* of a text command, without the '%', zero-terminated */
} axr_message_t;

typedef struct axr_link_counts {
    uint64_t received_bytes;
    uint64_t sent_bytes;
    uint32_t received_frames;
    uint32_t sent_frames;
    uint32_t crc_errors;
    uint32_t frame_errors;
} axr_link_counts_t;

void axr_link_start(void);

/* Read from the port until a message is complete or no byte is left; never waits. A message that
 * was not released is reported again. */
axr_link_event_t axr_link_poll(axr_message_t *message);
void axr_link_release(void);

/* Whether the transmit buffer is in use. */
bool axr_link_busy(void);

/* Not busy: where to write a body of at most AXR_FRAME_MAX - 8 bytes (aligned to 8), and send it. */
uint8_t *axr_link_body(void);
void axr_link_send(uint8_t kind, uint16_t sequence, uint32_t session, uint32_t body_bytes);

/* Text goes out when the buffer is full or at the flush; both wait for the port. */
void axr_link_write_text(const char *text);
void axr_link_flush_text(void);

const axr_link_counts_t *axr_link_counts(void);

/* Bytes received since the last valid frame or command. */
uint32_t axr_link_unclear_bytes(void);

#endif
