#include "axr_link.h"

#include <stddef.h>

#include "axr_cobs.h"
#include "crc32.h"
#include "port.h"

#define HEADER_BYTES ((uint32_t)sizeof(axr_frame_header_t))
#define RAW_FRAME_BYTES (AXR_FRAME_MAX + AXR_CRC_BYTES)
#define WIRE_BYTES (AXR_COBS_ROOM((uint32_t)RAW_FRAME_BYTES) + 2U)

typedef enum line_state {
    LINE_FRESH,     /* the next byte decides */
    LINE_BINARY,
    LINE_TEXT
} line_state_t;

static struct {
    axr_cobs_decoder_t decoder;
    axr_link_counts_t counts;
    line_state_t line;
    axr_link_event_t pending;
    uint32_t text_bytes;
    bool text_bad;
    uint32_t unclear_bytes;
    uint32_t chunk_at;
    uint32_t chunk_end;
    uint32_t text_out;
    uint64_t quiet_since_us;    /* first look at an empty port within a frame; 0: none */
} link;

/* Frames are built and checked in buffers aligned for the structs that are laid over them. */
static _Alignas(8) uint8_t receive_buffer[RAW_FRAME_BYTES];
static _Alignas(8) uint8_t frame_buffer[RAW_FRAME_BYTES];
static uint8_t wire_buffer[WIRE_BYTES];
static uint8_t chunk[64];

void axr_link_start(void)
{
    __builtin_memset(&link, 0, sizeof link);
    link.decoder.buffer = receive_buffer;
    link.decoder.capacity = RAW_FRAME_BYTES;
}

/* Whether the decoded bytes are a frame whose checksum fits. */
static bool check_frame(void)
{
    uint32_t size = link.decoder.size;
    if (size < HEADER_BYTES + AXR_CRC_BYTES) {
        link.counts.frame_errors++;
        return false;
    }
    uint32_t covered = size - AXR_CRC_BYTES;
    uint32_t stated = 0;
    __builtin_memcpy(&stated, receive_buffer + covered, sizeof stated);
    if (axr_crc32(0, receive_buffer, covered) != stated) {
        link.counts.crc_errors++;
        return false;
    }
    link.counts.received_frames++;
    link.unclear_bytes = 0;
    return true;
}

static void binary_byte(uint8_t byte)
{
    axr_cobs_event_t event = axr_cobs_push(&link.decoder, byte);
    if (event == AXR_COBS_MORE) {
        return;
    }
    link.line = LINE_FRESH;
    if (event == AXR_COBS_BAD) {
        link.counts.frame_errors++;
    } else if (check_frame()) {
        link.pending = AXR_LINK_FRAME;
    } else {
        axr_cobs_restart(&link.decoder);
    }
}

static void start_binary(void)
{
    link.line = LINE_BINARY;
    axr_cobs_restart(&link.decoder);
}

static void text_byte(uint8_t byte)
{
    if (byte == 0U) {
        start_binary();
    } else if (byte == (uint8_t)'%') {
        link.line = LINE_FRESH;
        receive_buffer[link.text_bytes] = 0;
        /* Bytes of a damaged frame can look like text: only clean text is a command. */
        if (!link.text_bad) {
            link.pending = AXR_LINK_TEXT;
            link.unclear_bytes = 0;
        }
    } else if (byte == (uint8_t)'\r' || byte == (uint8_t)'\n') {
        return;
    } else if (byte < 0x20U || byte > 0x7EU || link.text_bytes == AXR_TEXT_MAX) {
        link.text_bad = true;
    } else {
        receive_buffer[link.text_bytes++] = byte;
    }
}

static void take_byte(uint8_t byte)
{
    if (link.line == LINE_BINARY) {
        binary_byte(byte);
        return;
    }
    if (link.line == LINE_FRESH && byte == 0U) {
        start_binary();
        return;
    }
    if (link.line == LINE_FRESH) {
        link.line = LINE_TEXT;
        link.text_bytes = 0;
        link.text_bad = false;
    }
    text_byte(byte);
}

/* A frame whose sender has gone silent is given up: the next byte starts a message. Only the time
 * in which the port was seen empty counts, not the time in which nobody looked. */
static void watch_silence(bool heard)
{
    if (link.line != LINE_BINARY) {
        link.quiet_since_us = 0;
        return;
    }
    uint64_t now_us = axr_port_micros() + 1U;
    if (link.quiet_since_us == 0U) {
        link.quiet_since_us = heard ? 0U : now_us;
    } else if (heard) {
        if (now_us - link.quiet_since_us > 1000U * (uint64_t)AXR_LINE_QUIET_MS) {
            link.line = LINE_FRESH;
        }
        link.quiet_since_us = 0;
    }
}

/* False when the port has nothing. */
static bool refill(void)
{
    link.chunk_at = 0;
    link.chunk_end = (uint32_t)axr_port_receive(chunk, sizeof chunk);
    watch_silence(link.chunk_end != 0U);
    link.counts.received_bytes += link.chunk_end;
    link.unclear_bytes += link.chunk_end;
    return link.chunk_end != 0U;
}

axr_link_event_t axr_link_poll(axr_message_t *message)
{
    while (link.pending == AXR_LINK_NOTHING) {
        if (link.chunk_at == link.chunk_end && !refill()) {
            return AXR_LINK_NOTHING;
        }
        take_byte(chunk[link.chunk_at++]);
    }
    if (link.pending == AXR_LINK_FRAME) {
        __builtin_memcpy(&message->header, receive_buffer, sizeof message->header);
        message->body = receive_buffer + HEADER_BYTES;
        message->body_bytes = link.decoder.size - HEADER_BYTES - AXR_CRC_BYTES;
        message->text = NULL;
    } else {
        __builtin_memset(&message->header, 0, sizeof message->header);
        message->body = NULL;
        message->body_bytes = 0;
        message->text = (char *)receive_buffer;
    }
    return link.pending;
}

void axr_link_release(void)
{
    link.pending = AXR_LINK_NOTHING;
    axr_cobs_restart(&link.decoder);
}

bool axr_link_busy(void)
{
    return axr_port_transmit_busy();
}

uint8_t *axr_link_body(void)
{
    return frame_buffer + HEADER_BYTES;
}

void axr_link_send(uint8_t kind, uint16_t sequence, uint32_t session, uint32_t body_bytes)
{
    axr_frame_header_t header = {kind, 0, sequence, session};
    __builtin_memcpy(frame_buffer, &header, sizeof header);
    uint32_t covered = HEADER_BYTES + body_bytes;
    uint32_t crc = axr_crc32(0, frame_buffer, covered);
    __builtin_memcpy(frame_buffer + covered, &crc, sizeof crc);
    wire_buffer[0] = 0;
    uint32_t encoded = axr_cobs_encode(frame_buffer, covered + AXR_CRC_BYTES, wire_buffer + 1);
    wire_buffer[1U + encoded] = 0;
    axr_port_transmit(wire_buffer, encoded + 2U);
    link.counts.sent_bytes += encoded + 2U;
    link.counts.sent_frames++;
}

static void wait_for_port(void)
{
    while (axr_port_transmit_busy()) {
        axr_port_idle();
    }
}

void axr_link_write_text(const char *text)
{
    for (; *text != '\0'; text++) {
        if (link.text_out == 0U) {
            wait_for_port();
        }
        wire_buffer[link.text_out++] = (uint8_t)*text;
        if (link.text_out == 256U) {
            axr_link_flush_text();
        }
    }
}

void axr_link_flush_text(void)
{
    if (link.text_out != 0U) {
        axr_port_transmit(wire_buffer, link.text_out);
        link.counts.sent_bytes += link.text_out;
        link.text_out = 0;
    }
    wait_for_port();
}

const axr_link_counts_t *axr_link_counts(void)
{
    return &link.counts;
}

uint32_t axr_link_unclear_bytes(void)
{
    return link.unclear_bytes;
}
