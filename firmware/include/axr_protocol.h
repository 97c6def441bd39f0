/*
 * The link between host and firmware: every number and layout that both sides must agree on.
 * docs/protocol.md explains them; harness/protocol.py mirrors them; a contract test compares both
 * by reading this file (`#define AXR_NAME number` and packed structs of fixed-width fields).
 *
 * A frame is  00 | COBS(header body crc) | 00.  The CRC-32 (IEEE 802.3) covers header and body.
 * All integers are little-endian.
 */
#ifndef AXR_PROTOCOL_H
#define AXR_PROTOCOL_H

#include <stddef.h>
#include <stdint.h>

#define AXR_PROTOCOL_LEVEL 1

/* Largest header + body, and what is left in a LOAD, READ or SLOT frame for data. */
#define AXR_FRAME_MAX 2112
#define AXR_DATA_MAX 2048
#define AXR_CRC_BYTES 4

/* Longest time, in milliseconds, that a new rate stays without a valid frame. */
#define AXR_BAUD_TRIAL_MS 1000

/* After this many milliseconds of silence within a frame, the next byte starts a new message. */
#define AXR_LINE_QUIET_MS 1000

/* Requests. The answer to a request has its kind + AXR_KIND_REPLY and its sequence number. */
#define AXR_KIND_HELLO 1
#define AXR_KIND_INFER 2
#define AXR_KIND_LOAD 3
#define AXR_KIND_RESEND 4
#define AXR_KIND_READ 5
#define AXR_KIND_ECHO 6
#define AXR_KIND_STATISTICS 7
#define AXR_KIND_SLOT 8
#define AXR_KIND_RESET 9
#define AXR_KIND_BAUD 10
#define AXR_KIND_BYE 11
#define AXR_KIND_REPLY 128

/* From the device only. PROGRESS answers INFER, LOAD and RESEND. */
#define AXR_KIND_PROGRESS 144
#define AXR_KIND_RESULT 145
#define AXR_KIND_ERROR 255

/* Flags of INFER. */
#define AXR_INFER_LAYERS 1

/* Regions of READ. */
#define AXR_REGION_INPUT 0
#define AXR_REGION_OUTPUT 1
#define AXR_REGION_MODEL 2
#define AXR_REGION_ARENA 3

/* Operations and places of SLOT. */
#define AXR_SLOT_BEGIN 0
#define AXR_SLOT_WRITE 1
#define AXR_SLOT_COMMIT 2
#define AXR_SLOT_SELECT 3
#define AXR_MODEL_BUILT_IN 0
#define AXR_MODEL_RAM 1
#define AXR_MODEL_NON_VOLATILE 2

/* A non-volatile slot starts with this header; the model image follows it. */
#define AXR_SLOT_MAGIC 0x53525841
#define AXR_SLOT_HEADER_BYTES 16

#define AXR_LAP_SAMPLES 256

#define AXR_PACKED __attribute__((packed))

/* session: chosen by the host in its HELLO, never 0; the device refuses frames of another one.
 * sequence: counts the sender's requests; replies repeat the request's. */
typedef struct AXR_PACKED axr_frame_header {
    uint8_t kind;
    uint8_t reserved;
    uint16_t sequence;
    uint32_t session;
} axr_frame_header_t;

/* HELLO. The first field keeps its place in every protocol level. */
typedef struct AXR_PACKED axr_hello {
    uint16_t level;
    uint16_t reserved;
} axr_hello_t;

/* Strings end in a zero unless they fill their field. */
typedef struct AXR_PACKED axr_hello_reply {
    uint16_t level;
    uint16_t layers;            /* of the Axon program */
    uint8_t build_id[16];
    uint8_t unique_id[16];
    uint8_t board[32];
    uint8_t core[16];
    uint8_t time_source[16];
    uint8_t backend[16];
    uint8_t profile[16];        /* MLPerf Tiny profile, empty for other models */
    uint32_t core_hz;
    uint32_t cycle_hz;
    uint32_t window_bytes;      /* stream bytes that may be under way unacknowledged */
    uint32_t default_baud;
    uint32_t max_baud;
    uint32_t reset_reason;
    uint32_t fault_cause;
    uint32_t fault_pc;
    uint32_t fault_lr;
    uint32_t fault_psr;
    uint32_t fault_status;
    uint32_t fault_address;
    uint32_t ram_slot_bytes;
    uint32_t nv_slot_bytes;
    uint32_t model_place;       /* AXR_MODEL_... */
    uint32_t model_status;      /* axr_status_t: why no model is open, or 0 */
    uint8_t model_hash[16];     /* first bytes of the SHA-256 of the Axon binary */
    uint8_t model_name[48];
    uint32_t program_version;
    uint32_t image_bytes;
    uint32_t arena_bytes;       /* the firmware's arena */
    uint32_t arena_used_bytes;  /* the model's plan */
    uint32_t input_bytes;
    uint32_t output_bytes;      /* all outputs, one after the other */
    uint32_t input_slots;       /* inputs that can be held at a time */
    uint32_t result_slots;      /* results that can be held at a time */
} axr_hello_reply_t;

/* INFER: what to do with the inputs that follow. run grows within a session; a repeated or older
 * run changes nothing. Inputs are numbered first .. first + inputs - 1. */
typedef struct AXR_PACKED axr_infer {
    uint32_t run;
    uint32_t first;
    uint32_t inputs;
    uint32_t laps;              /* measured repetitions of each input, at least 1 */
    uint32_t warmup;            /* repetitions before them */
    uint32_t flags;
} axr_infer_t;

/* LOAD, followed by data: bytes `offset`... of the run's inputs, one after the other. */
typedef struct AXR_PACKED axr_load {
    uint32_t run;
    uint32_t offset;
    uint32_t received;          /* the host has every result below this input number */
} axr_load_t;

/* RESEND: send the results from input number `received` on (again), and PROGRESS. */
typedef struct AXR_PACKED axr_resend {
    uint32_t run;
    uint32_t received;
} axr_resend_t;

typedef struct AXR_PACKED axr_progress {
    uint32_t run;
    uint32_t offset;            /* stream bytes accepted, without a gap */
    uint32_t limit;             /* the host may send stream bytes below this */
    uint32_t finished;          /* input number after the last finished one */
    uint32_t rejected;          /* frames that did not survive the line, since boot */
} axr_progress_t;

/* RESULT, followed by `total_bytes - offset` bytes or as many as fit: the outputs, then, on
 * request, uint64 cycles of each layer (of the last lap). */
typedef struct AXR_PACKED axr_result {
    uint32_t run;
    uint32_t input;
    uint32_t status;            /* axr_status_t; nothing else counts when it is not 0 */
    uint32_t input_crc;         /* CRC-32 of the input that was used */
    uint32_t laps;
    uint32_t output_bytes;
    uint32_t total_bytes;
    uint32_t offset;
    uint64_t cycles_min;
    uint64_t cycles_median;     /* of at most AXR_LAP_SAMPLES evenly spaced laps */
    uint64_t cycles_max;
} axr_result_t;

typedef struct AXR_PACKED axr_read {
    uint32_t region;
    uint32_t offset;
    uint32_t size;              /* at most AXR_DATA_MAX */
} axr_read_t;

/* Followed by data. */
typedef struct AXR_PACKED axr_read_reply {
    uint32_t region;
    uint32_t offset;
    uint32_t total_bytes;       /* of the region */
} axr_read_reply_t;

/* ECHO and its reply are a header and any data up to AXR_DATA_MAX. */

typedef struct AXR_PACKED axr_statistics {
    uint64_t uptime_us;
    uint64_t received_bytes;
    uint64_t sent_bytes;
    uint32_t received_frames;
    uint32_t sent_frames;
    uint32_t crc_errors;
    uint32_t frame_errors;      /* not COBS, too long or too short */
    uint32_t overruns;
    uint32_t line_errors;
    uint32_t duplicates;        /* LOAD frames whose bytes were there already */
    uint32_t gaps;              /* LOAD frames that came too early */
    uint32_t inferences;
    uint32_t results_sent;
} axr_statistics_t;

/* SLOT, followed by data for AXR_SLOT_WRITE. `value`: BEGIN, COMMIT size in bytes; WRITE offset. */
typedef struct AXR_PACKED axr_slot {
    uint32_t operation;
    uint32_t place;
    uint32_t value;
    uint32_t crc;               /* COMMIT: CRC-32 of the model image */
} axr_slot_t;

typedef struct AXR_PACKED axr_slot_reply {
    uint32_t status;            /* axr_status_t */
    uint32_t written;           /* bytes in the slot */
} axr_slot_reply_t;

typedef struct AXR_PACKED axr_baud {
    uint32_t baud;
} axr_baud_t;

/* Replies of BAUD, RESET and BYE. The change comes after the reply has left. */
typedef struct AXR_PACKED axr_status_reply {
    uint32_t status;
} axr_status_reply_t;

typedef struct AXR_PACKED axr_error {
    uint32_t status;            /* axr_status_t */
    uint32_t kind;              /* of the refused frame */
    uint32_t detail;
} axr_error_t;

_Static_assert(sizeof(axr_frame_header_t) == 8, "frame header");
_Static_assert(sizeof(axr_hello_t) == 4, "hello");
_Static_assert(offsetof(axr_hello_reply_t, level) == 0, "level comes first");
_Static_assert(sizeof(axr_hello_reply_t) == 292, "hello reply");
_Static_assert(sizeof(axr_infer_t) == 24, "infer");
_Static_assert(sizeof(axr_load_t) == 12, "load");
_Static_assert(sizeof(axr_resend_t) == 8, "resend");
_Static_assert(sizeof(axr_progress_t) == 20, "progress");
_Static_assert(sizeof(axr_result_t) == 56, "result");
_Static_assert(sizeof(axr_read_t) == 12, "read");
_Static_assert(sizeof(axr_read_reply_t) == 12, "read reply");
_Static_assert(sizeof(axr_statistics_t) == 64, "statistics");
_Static_assert(sizeof(axr_slot_t) == 16, "slot");
_Static_assert(sizeof(axr_slot_reply_t) == 8, "slot reply");
_Static_assert(sizeof(axr_baud_t) == 4, "baud");
_Static_assert(sizeof(axr_status_reply_t) == 4, "status reply");
_Static_assert(sizeof(axr_error_t) == 12, "error");
_Static_assert(sizeof(axr_frame_header_t) + sizeof(axr_result_t) + AXR_DATA_MAX <= AXR_FRAME_MAX,
               "a full data frame fits");

#endif
