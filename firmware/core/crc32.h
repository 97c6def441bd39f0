/* CRC-32 of IEEE 802.3 (zlib's crc32): reflected polynomial 0xEDB88320. Owns no buffer. */
#ifndef AXR_CRC32_H
#define AXR_CRC32_H

#include <stdint.h>

/* Continue a checksum over `bytes` more bytes; start with 0. */
uint32_t axr_crc32(uint32_t crc, const uint8_t *data, uint32_t bytes);

#endif
