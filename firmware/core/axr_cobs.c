#include "axr_cobs.h"

void axr_cobs_restart(axr_cobs_decoder_t *decoder)
{
    decoder->size = 0;
    decoder->left = 0;
    decoder->block_ends_in_zero = false;
    decoder->started = false;
    decoder->bad = false;
}

static void append(axr_cobs_decoder_t *decoder, uint8_t byte)
{
    if (decoder->size >= decoder->capacity) {
        decoder->bad = true;
        return;
    }
    decoder->buffer[decoder->size++] = byte;
}

static axr_cobs_event_t finish(axr_cobs_decoder_t *decoder)
{
    if (!decoder->started) {
        return AXR_COBS_MORE;
    }
    if (decoder->bad || decoder->left != 0U) {
        axr_cobs_restart(decoder);
        return AXR_COBS_BAD;
    }
    return AXR_COBS_FRAME;
}

axr_cobs_event_t axr_cobs_push(axr_cobs_decoder_t *decoder, uint8_t byte)
{
    if (byte == 0U) {
        return finish(decoder);
    }
    if (decoder->left != 0U) {
        append(decoder, byte);
        decoder->left--;
        return AXR_COBS_MORE;
    }
    /* A block's zero is written when the next block starts: the last block has none. */
    if (decoder->block_ends_in_zero) {
        append(decoder, 0U);
    }
    decoder->started = true;
    decoder->left = (uint8_t)(byte - 1U);
    decoder->block_ends_in_zero = byte != 0xFFU;
    return AXR_COBS_MORE;
}

uint32_t axr_cobs_encode(const uint8_t *data, uint32_t bytes, uint8_t *out)
{
    uint32_t code_at = 0;
    uint32_t to = 1;
    for (uint32_t i = 0; i < bytes; i++) {
        if (data[i] != 0U) {
            out[to++] = data[i];
        }
        uint32_t block = to - code_at;
        if (data[i] == 0U || (block == 0xFFU && i + 1U < bytes)) {
            out[code_at] = (uint8_t)block;
            code_at = to++;
        }
    }
    out[code_at] = (uint8_t)(to - code_at);
    return to;
}
